//! Reading a model.

use std::path::{Path, PathBuf};

use rappel_config::{Field, Options, table_from_json};
use rappel_nn::Values;
use rappel_tensor::{Arenas, DType, Element, Entry, Params, Shape};
use serde_json::{Map, Value};
use toml::Table;

use super::gguf::{GgufFile, describe};
use super::weights::{Folder, Places, Weights};
use super::{CONFIG, FilesError, WeightStorage, bitsandbytes, registered};
use crate::rope::one_dialect;
use crate::{ARCHITECTURES, Architecture, LanguageModel, ModelConfig};

/// A model with its values.
#[derive(Debug)]
pub struct Pretrained {
    /// The model.
    pub model: Box<dyn LanguageModel>,
    /// Its parameters.
    pub params: Params,
    /// The tokens that end a text, by config.json.
    pub eos_token_id: Vec<u32>,
    /// Further keys of its config.json that say nothing of what it computes, such as `bos_token_id`.
    pub extra: Map<String, Value>,
}

/// Reads the model of a directory and its parameters, as [`Pretrained::load`] does without a type.
///
/// ```
/// use rappel_model::{Gpt2Config, ModelConfig, load_pretrained, save_pretrained};
/// use rappel_tensor::Params;
/// # let folder = tempfile::tempdir().unwrap();
/// # let dir = folder.path();
/// let config = Gpt2Config {
///     n_layer: 1, n_head: 2, n_embd: 8, n_positions: 16, vocab_size: 50, ..Gpt2Config::default()
/// };
/// let mut params = Params::new(1);
/// let model = config.build(&mut params);
/// save_pretrained(dir, &*model, &params, &[])?;
/// let (again, loaded) = load_pretrained(dir)?;
/// assert_eq!(again.config().to_json(), config.to_json());
/// assert_eq!(loaded.names(), params.names());
/// # Ok::<(), rappel_model::FilesError>(())
/// ```
pub fn load_pretrained(
    dir: impl AsRef<Path>,
) -> Result<(Box<dyn LanguageModel>, Params), FilesError> {
    let Pretrained { model, params, .. } = Pretrained::load(dir, None)?;
    Ok((model, params))
}

impl Pretrained {
    /// A model with its values, which no files say more of.
    pub fn new(model: Box<dyn LanguageModel>, params: Params, eos_token_id: Vec<u32>) -> Self {
        Self { model, params, eos_token_id, extra: Map::new() }
    }

    /// Reads the model of a directory that transformers, or
    /// [`save_pretrained`](crate::save_pretrained), wrote, or of a GGUF file.
    ///
    /// Parameters get `dtype`, each value rounded to it; without one, the type that the files hold, or single precision
    /// where they are in a GGUF file. Keys of config.json that say nothing of what the model computes are left aside.
    ///
    /// # Errors
    /// [`FilesError`]: an unknown `model_type` (listing the known ones), options out of range, tensors
    /// that are missing, unexpected, of another shape, of several types; files that are not whole.
    /// Nothing is allocated for a model that does not fit its files.
    pub fn load(path: impl AsRef<Path>, dtype: Option<DType>) -> Result<Self, FilesError> {
        Self::load_kept(path, dtype, WeightStorage::Dense)
    }

    /// [`load`](Self::load), with matrices kept as `storage` says: none is trained then.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_kept(
        path: impl AsRef<Path>,
        dtype: Option<DType>,
        storage: WeightStorage,
    ) -> Result<Self, FilesError> {
        let files = ModelFiles::open(path)?.kept(storage);
        let stored = dtype.map_or_else(|| files.dtype(), Ok)?;
        let config = files.config(stored)?;
        let params = Params::with_dtype(0, stored);
        let frozen = storage != WeightStorage::Dense;
        files.load(params, config.as_ref(), dtype.is_some(), &|_| frozen)
    }
}

/// The files of a model, opened: what they say is known, and nothing of it allocated.
#[derive(Debug)]
pub struct ModelFiles {
    pub(super) path: PathBuf,
    pub(super) json: Map<String, Value>,
    pub(super) entry: &'static Described,
    pub(super) weights: Weights,
    pub(super) storage: WeightStorage,
}

impl ModelFiles {
    /// Opens a directory with config.json and model.safetensors, or a GGUF file.
    ///
    /// # Errors
    /// As [`Pretrained::load`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FilesError> {
        let path = path.as_ref().to_owned();
        if GgufFile::is_named(&path) {
            let file = GgufFile::open(&path)?;
            let (json, entry) = describe(&file)
                .map_err(|reason| FilesError::Gguf { path: path.clone(), reason })?;
            let (weights, storage) = (Weights::Gguf(Box::new(file)), WeightStorage::Dense);
            return Ok(Self { path, json, entry, weights, storage });
        }
        let (json, entry) = read_config(&path.join(CONFIG))?;
        let weights = Weights::Folder(Folder::open(&path, &entry.build.canonical)?);
        Ok(Self { path, json, entry, weights, storage: WeightStorage::Dense })
    }

    /// The same, whose matrices are kept in memory as `storage` says.
    #[must_use]
    pub fn kept(mut self, storage: WeightStorage) -> Self {
        self.storage = storage;
        self
    }

    /// Whether some matrices are in a few bits a number.
    pub fn has_few_bits(&self) -> bool {
        match &self.weights {
            Weights::Folder(folder) => folder.has_few_bits(),
            Weights::Gguf(file) => {
                let mut tensors = file.tensors().values();
                tensors.any(|tensor| tensor.quantization.blocks().is_some())
            }
        }
    }

    /// Whether a parameter is a matrix in a few bits a number, which can stay so.
    pub(super) fn is_in_few_bits(&self, name: &str) -> bool {
        let names = [Some(name), self.alias(name)];
        match &self.weights {
            Weights::Folder(folder) => {
                names.into_iter().flatten().any(|name| folder.few_bits(name).is_some())
            }
            Weights::Gguf(file) => {
                let place = self.entry.build.gguf.place(name, &self.json);
                place.is_some_and(|place| place.quantization(file).is_some())
            }
        }
    }

    /// The other name of a tied parameter.
    fn alias(&self, name: &str) -> Option<&'static str> {
        let tied = self.entry.build.tied.iter().find(|(_, name_of)| *name_of == name);
        tied.map(|(alias, _)| *alias)
    }

    /// The same with another value for an option of its config.json.
    #[must_use]
    pub fn with(mut self, option: &str, value: impl Into<Value>) -> Self {
        self.json.insert(option.to_owned(), value.into());
        self
    }

    /// The type that the files hold.
    ///
    /// # Errors
    /// Tensors of no floating-point numbers; none at all.
    pub fn dtype(&self) -> Result<DType, FilesError> {
        self.weights.dtype()
    }

    /// The GGUF file, where it is one.
    pub fn gguf(&self) -> Option<&GgufFile> {
        match &self.weights {
            Weights::Gguf(file) => Some(file),
            Weights::Folder(_) => None,
        }
    }

    /// The tokens that end a text, by config.json.
    pub fn eos_token_id(&self) -> Vec<u32> {
        token_ids(self.json.get("eos_token_id"))
    }

    /// The model's config, with parameters of `dtype`.
    ///
    /// # Errors
    /// As [`Pretrained::load`].
    pub fn config(&self, dtype: DType) -> Result<Box<dyn ModelConfig>, FilesError> {
        let at = if self.gguf().is_some() { self.path.clone() } else { self.path.join(CONFIG) };
        configure(&at, &self.json, self.entry, dtype)
    }

    /// The model with its values, in `params`, which is empty. Numbers of another type than the parameters' are rounded
    /// where `convert`; parameters whose names are `frozen` are constants.
    ///
    /// # Errors
    /// As [`Pretrained::load`].
    pub fn load(
        mut self,
        mut params: Params,
        config: &dyn ModelConfig,
        convert: bool,
        frozen: &dyn Fn(&str) -> bool,
    ) -> Result<Pretrained, FilesError> {
        self.storage.prepare(&mut params, &self, config, frozen);
        let model = config.build_with(&mut params, Values::Placeholders);
        if let Some(name) = params.formed().into_iter().next() {
            return Err(FilesError::Formed { path: self.path, name });
        }
        params.freeze(frozen)?;
        let convert = convert || self.gguf().is_some();
        let storage = self.storage;
        let places = places(&params, &mut self.weights, &self.entry.build, config)?;
        storage.fill(&mut params, &places, config.dtype())?;
        fill(&mut params, &places, convert)?;
        params.complete()?;
        let eos_token_id = self.eos_token_id();
        let extra = further(self.json);
        Ok(Pretrained { model, params, eos_token_id, extra })
    }

    /// How the files store the numbers of a parameter, in their own words, such as `Q8_0`.
    pub fn stored_as(&self, name: &str) -> Option<String> {
        match &self.weights {
            Weights::Folder(folder) => {
                folder.stored_as(name).or_else(|| folder.stored_as(self.alias(name)?))
            }
            Weights::Gguf(file) => {
                let tensor = self.entry.build.gguf.tensor(name)?;
                Some(file.tensors().get(&tensor)?.quantization.name().to_owned())
            }
        }
    }

    /// The files that hold the model, sorted: config.json and those of tensors, or the GGUF file.
    pub fn paths(&self) -> Vec<PathBuf> {
        match &self.weights {
            Weights::Gguf(_) => vec![self.path.clone()],
            Weights::Folder(folder) => {
                let mut paths = folder.paths();
                paths.push(self.path.join(CONFIG));
                paths.sort();
                paths
            }
        }
    }
}

/// Of [`IGNORED`], keys that are of the file and its class, not of the model.
const OF_THE_FILE: &[&str] = &[
    "_attn_implementation_autoset",
    "_model_name_or_path",
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "auto_map",
    "dtype",
    "eos_token_id",
    "hidden_act",
    "is_llama_config",
    "max_window_layers",
    "model_type",
    "n_ctx",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
];

pub(super) type Described = rappel_config::Entry<Architecture>;

/// config.json, and the architecture that it names.
fn read_config(path: &Path) -> Result<(Map<String, Value>, &'static Described), FilesError> {
    let mut json = read_json(path)?;
    bitsandbytes::take_config(&mut json);
    let path = || path.to_owned();
    let Some(model_type) = json.get("model_type").and_then(Value::as_str) else {
        let known = ARCHITECTURES.names().join(", ");
        let reason = format!("expected a text `model_type` (known: {known})");
        return Err(FilesError::Json { path: path(), reason });
    };
    let entry = ARCHITECTURES
        .lookup_at("model_type", model_type)
        .map_err(|source| FilesError::config(path(), source))?;
    Ok((json, entry))
}

/// What config.json at `path` comes to with parameters of `dtype`; null is the same as nothing, but for options whose
/// null means that there is nothing of the kind.
pub(super) fn configure(
    path: &Path,
    json: &Map<String, Value>,
    entry: &Described,
    dtype: DType,
) -> Result<Box<dyn ModelConfig>, FilesError> {
    let options = options(path, json, entry.fields, entry.build.off, &[])?;
    let configure = |options: &Options| (entry.build.configure)(options, None);
    registered::configured(&ARCHITECTURES, entry, options, dtype, path, configure)
}

/// The options that config.json at `path` gives. Where the key of one of `off` is null, there is nothing of the kind;
/// those `ignored` say nothing of what is computed, beside [`IGNORED`].
pub(super) fn options(
    path: &Path,
    json: &Map<String, Value>,
    fields: &[Field],
    off: &[&str],
    ignored: &[&str],
) -> Result<Table, FilesError> {
    let mut json = json.clone();
    one_dialect(&mut json);
    for key in off {
        if let Some(value) = json.get_mut(*key).filter(|value| value.is_null()) {
            *value = 0.into();
        }
    }
    let (options, unknown) = table_from_json(fields, &json);
    let unknown = unknown.iter().filter(|key| !ignored.contains(&key.as_str()));
    match unknown.into_iter().find_map(|key| changes(key, &json)) {
        None => Ok(options),
        Some((key, value)) => {
            let (key, value) = (key.to_owned(), value.to_string());
            Err(FilesError::Unsupported { path: path.to_owned(), key, value })
        }
    }
}

/// The further keys of a config.json that say nothing of what the model computes, and are of the model, not of its files.
pub(super) fn further(json: Map<String, Value>) -> Map<String, Value> {
    let kept = |(key, value): &(String, Value)| {
        IGNORED.contains(&key.as_str()) && !OF_THE_FILE.contains(&key.as_str()) && !value.is_null()
    };
    json.into_iter().filter(kept).collect()
}

/// Keys of Hugging Face's configs that say nothing of what a model computes: what it was made with and for, how its
/// text is generated, how training split it over devices; and what files of some models have and their class in
/// transformers does not read. An option of the architecture is never looked up here.
const IGNORED: &[&str] = &[
    "_attn_implementation_autoset",
    "_model_name_or_path",
    "_name_or_path",
    "_num_labels",
    "architectures",
    "attn_implementation",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "full_attn_mod",
    "hidden_act",
    "id2label",
    "interpolate_factor",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "max_window_layers",
    "min_length",
    "model_type",
    "n_ctx",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_past",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// The key, which no option is called, and its value, where that may change what a model computes: switched on, and not
/// among [`IGNORED`]. Keys within tables have their path.
fn changes<'a>(key: &'a str, json: &'a Map<String, Value>) -> Option<(&'a str, &'a Value)> {
    let nested = || {
        let (table, key) = key.split_once('.')?;
        let table = json.get(table)?;
        table.pointer(&format!("/{}", key.replace('.', "/")))
    };
    let value = json.get(key).or_else(nested)?;
    let is_off = matches!(value, Value::Null | Value::Bool(false));
    (!is_off && !IGNORED.contains(&key)).then_some((key, value))
}

/// Replaces every value of `params`, which a model of `config` registered, by that in the files of
/// a directory or in a GGUF file, rounded to the parameter's type; config.json is not read.
///
/// # Errors
/// As [`load_pretrained`], and [`rappel_tensor::ParamsError::InUse`].
pub fn load_weights(
    path: impl AsRef<Path>,
    config: &dyn ModelConfig,
    params: &mut Params,
) -> Result<(), FilesError> {
    let path = path.as_ref();
    let entry = ARCHITECTURES
        .lookup(config.model_type())
        .map_err(|source| FilesError::config(path.to_owned(), source))?;
    let mut weights = if GgufFile::is_named(path) {
        Weights::Gguf(Box::new(GgufFile::open(path)?))
    } else {
        Weights::Folder(Folder::open(path, &entry.build.canonical)?)
    };
    let places = places(params, &mut weights, &entry.build, config)?;
    fill(params, &places, true)
}

/// A file's JSON object.
pub(super) fn read_json(path: &Path) -> Result<Map<String, Value>, FilesError> {
    let text =
        std::fs::read(path).map_err(|source| FilesError::Io { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|error| {
        let reason = format!("not a JSON object: {error}");
        FilesError::Json { path: path.to_owned(), reason }
    })
}

/// One id, a list of them, or none.
pub(super) fn token_ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
    match value {
        Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Where the numbers of all parameters are.
fn places<'a>(
    params: &Params,
    weights: &'a mut Weights,
    architecture: &Architecture,
    config: &dyn ModelConfig,
) -> Result<Places<'a>, FilesError> {
    let entries = params.entries().into_iter();
    // What is trained beside a weight is in files of its own.
    let adapters = params.adapters();
    let entries = entries.filter(|entry| !adapters.contains(&entry.name));
    let mut wanted: Vec<(String, Shape)> = entries.map(|entry| (entry.name, entry.shape)).collect();
    wanted.extend(params.quantized());
    weights.places(&wanted, architecture, &config.to_json())
}

/// Reads the tensors into the arenas, once all are known to fit: each number is converted once, and held once. A
/// parameter that `places` has nothing for keeps what it holds.
pub(super) fn fill(
    params: &mut Params,
    places: &Places<'_>,
    convert: bool,
) -> Result<(), FilesError> {
    let layout = params.layout();
    params.update(|arenas| {
        for entry in layout.entries().iter().filter(|entry| places.has(&entry.name)) {
            let stored = places.dtype(&entry.name)?;
            if let Some(other) = stored.filter(|stored| *stored != entry.dtype && !convert) {
                let (dir, name) = (places.origin().to_owned(), entry.name.clone());
                return Err(FilesError::Mixed { dir, name, one: entry.dtype, other });
            }
            match entry.dtype {
                DType::F64 => put::<f64>(arenas, entry, places),
                DType::BF16 => put::<half::bf16>(arenas, entry, places),
                _ => put::<f32>(arenas, entry, places),
            }?;
        }
        Ok(())
    })?
}

fn put<T: Element>(
    arenas: &mut Arenas<'_>,
    entry: &Entry,
    places: &Places<'_>,
) -> Result<(), FilesError> {
    places.read_into(&entry.name, &mut arenas.all::<T>()[entry.range()])
}
