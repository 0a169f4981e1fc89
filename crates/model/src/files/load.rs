//! Reading a model.

use std::path::Path;

use rappel_nn::Values;
use rappel_registry::{ConfigError, table_from_json};
use rappel_tensor::{Arenas, DType, Element, Entry, Params, Shape, Tensor};
use serde_json::{Map, Value};

use super::weights::Weights;
use super::{CONFIG, FilesError};
use crate::{ARCHITECTURES, Architecture, LanguageModel, ModelConfig};

/// A model with its values.
pub struct Pretrained {
    /// The model.
    pub model: Box<dyn LanguageModel>,
    /// Its parameters.
    pub params: Params,
    /// The tokens that end a text, by config.json.
    pub eos_token_id: Vec<u32>,
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
    /// Reads the model of a directory that transformers, or
    /// [`save_pretrained`](crate::save_pretrained), wrote.
    ///
    /// Parameters get `dtype`, each value rounded to it; without one, the type that the files hold.
    /// Options of config.json that no architecture here has are left aside, but for those that would
    /// change what the model computes.
    ///
    /// # Errors
    /// [`FilesError`]: an unknown `model_type` (listing the known ones), options out of range, tensors
    /// that are missing, unexpected, of another shape, of several types; files that are not whole.
    /// Nothing is allocated for a model that does not fit its files.
    pub fn load(dir: impl AsRef<Path>, dtype: Option<DType>) -> Result<Self, FilesError> {
        let dir = dir.as_ref();
        let (json, entry) = read_config(&dir.join(CONFIG))?;
        let architecture = &entry.build;
        let mut weights = Weights::open(dir, architecture)?;
        let stored = dtype.map_or_else(|| weights.dtype(), Ok)?;
        let config = configure(&json, entry, stored)
            .map_err(|source| FilesError::config(dir.join(CONFIG), source))?;
        let mut params = Params::with_dtype(0, stored);
        let model = config.build_with(&mut params, Values::Placeholders);
        fill(&mut params, &mut weights, architecture, dtype.is_some())?;
        Ok(Self { model, params, eos_token_id: token_ids(json.get("eos_token_id")) })
    }
}

type Described = rappel_registry::Entry<Architecture>;

/// config.json, and the architecture that it names.
fn read_config(path: &Path) -> Result<(Map<String, Value>, &'static Described), FilesError> {
    let json = read_json(path)?;
    let path = || path.to_owned();
    let Some(model_type) = json.get("model_type").and_then(Value::as_str) else {
        let known = ARCHITECTURES.names().join(", ");
        let reason = format!("wants a text `model_type` (known: {known})");
        return Err(FilesError::Json { path: path(), reason });
    };
    let entry = ARCHITECTURES
        .lookup_at("model_type", model_type)
        .map_err(|source| FilesError::config(path(), source))?;
    for key in entry.build.unsupported {
        if let Some(value) = json.get(*key).filter(|value| **value != Value::Bool(false)) {
            let (key, value) = ((*key).to_owned(), value.to_string());
            return Err(FilesError::Unsupported { path: path(), key, value });
        }
    }
    Ok((json, entry))
}

/// What config.json comes to with parameters of `dtype`; null is the same as nothing.
fn configure(
    json: &Map<String, Value>,
    entry: &Described,
    dtype: DType,
) -> Result<Box<dyn ModelConfig>, ConfigError> {
    // What else is there says nothing of what is computed, but for `unsupported`.
    let (mut options, _) = table_from_json(entry.fields, json);
    options.insert("name".to_owned(), entry.name.into());
    options.insert("dtype".to_owned(), dtype.to_string().into());
    let (_, options) = ARCHITECTURES.resolve("", &options)?;
    (entry.build.configure)(&options, None)
}

/// Replaces every value of `params`, which a model of `config` registered, by that in the files of
/// `dir`, rounded to the parameter's type; config.json is not read.
///
/// # Errors
/// As [`load_pretrained`], and [`rappel_tensor::ParamsError::InUse`].
pub fn load_weights(
    dir: impl AsRef<Path>,
    config: &dyn ModelConfig,
    params: &mut Params,
) -> Result<(), FilesError> {
    let dir = dir.as_ref();
    let entry = ARCHITECTURES
        .lookup(config.model_type())
        .map_err(|source| FilesError::config(dir.to_owned(), source))?;
    let mut weights = Weights::open(dir, &entry.build)?;
    fill(params, &mut weights, &entry.build, true)
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
fn token_ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
    match value {
        Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Copies the tensors into the arenas, once all are known to fit.
fn fill(
    params: &mut Params,
    weights: &mut Weights,
    architecture: &Architecture,
    convert: bool,
) -> Result<(), FilesError> {
    let shape = |name: String| {
        let shape = params.get(&name).map_or(Shape::from(()), |param| param.shape());
        (name, shape)
    };
    let wanted: Vec<(String, Shape)> = params.names().into_iter().map(shape).collect();
    weights.check(&wanted, architecture.tied)?;
    let layout = params.layout();
    params.update(|arenas| {
        for entry in layout.entries() {
            let value = weights.tensor(&entry.name)?;
            if value.dtype() != entry.dtype && !convert {
                let (dir, name) = (weights.dir().to_owned(), entry.name.clone());
                let (one, other) = (entry.dtype, value.dtype());
                return Err(FilesError::Mixed { dir, name, one, other });
            }
            match entry.dtype {
                DType::F64 => put::<f64>(arenas, entry, &value),
                DType::BF16 => put::<half::bf16>(arenas, entry, &value),
                _ => put::<f32>(arenas, entry, &value),
            }
        }
        Ok(())
    })?
}

fn put<T: Element>(arenas: &mut Arenas<'_>, entry: &Entry, value: &Tensor) {
    let values = value.to_dtype(entry.dtype).to_vec::<T>();
    arenas.all::<T>()[entry.range()].copy_from_slice(&values);
}
