//! Reading and writing an encoder.

use std::path::{Path, PathBuf};

use rappel_config::Entry;
use rappel_nn::Values;
use rappel_tensor::{DType, Params, Shape};
use serde_json::{Map, Value};

use super::load::{fill, further, options};
use super::save::write;
use super::weights::{Folder, Places};
use super::{CONFIG, FilesError, registered};
use crate::encoder::{EncoderArchitecture, EncoderShape, HeadShape, is_within};
use crate::{ENCODERS, Encoder, EncoderConfig, EncoderTask};

/// An encoder with its values.
#[derive(Debug)]
pub struct PretrainedEncoder {
    /// The model.
    pub model: Encoder,
    /// Its parameters.
    pub params: Params,
    /// Further keys of its config.json that say nothing of what it computes, such as `bos_token_id`.
    pub extra: Map<String, Value>,
}

impl PretrainedEncoder {
    /// Reads the encoder of a directory that transformers or [`save`](Self::save) wrote, with the head that its
    /// config.json names. Parameters get `dtype`, each value rounded to it; without one, the type that the files hold.
    ///
    /// # Errors
    /// [`FilesError`], as [`Pretrained::load`](crate::Pretrained::load).
    pub fn load(dir: impl AsRef<Path>, dtype: Option<DType>) -> Result<Self, FilesError> {
        let files = EncoderFiles::open(dir)?;
        let stored = dtype.map_or_else(|| files.dtype(), Ok)?;
        let (config, task) = (files.config(stored)?, files.task()?);
        files.load(Params::with_dtype(0, stored), config, task, dtype.is_some(), &|_| false)
    }

    /// Writes `config.json` and `model.safetensors` into `dir`, which it makes, so that transformers' `from_pretrained`
    /// reads them. Each file is whole, old or new, whatever happens.
    ///
    /// # Errors
    /// [`FilesError::Write`], a full disk among others.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), FilesError> {
        let mut config = self.model.config().to_json(self.model.task());
        config.extend(self.extra.clone());
        let dtype = self.model.config().dtype();
        write(dir.as_ref(), config, &self.params, dtype)
    }
}

/// The files of an encoder, opened: what they say is known, and nothing of it allocated.
#[derive(Debug)]
pub struct EncoderFiles {
    dir: PathBuf,
    json: Map<String, Value>,
    entry: &'static Entry<EncoderArchitecture>,
}

impl EncoderFiles {
    /// Whether a folder's config.json names an encoder.
    pub fn is_in(dir: impl AsRef<Path>) -> bool {
        registered::is_in(&ENCODERS, dir.as_ref())
    }

    /// Opens a directory with config.json and model.safetensors.
    ///
    /// # Errors
    /// A config.json that is missing or names no encoder.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, FilesError> {
        let dir = dir.as_ref().to_owned();
        let (json, entry) = registered::open(&ENCODERS, &dir, "an encoder")?;
        Ok(Self { dir, json, entry })
    }

    /// The same with another value for an option of its config.json.
    #[must_use]
    pub fn with(mut self, option: &str, value: impl Into<Value>) -> Self {
        self.json.insert(option.to_owned(), value.into());
        self
    }

    /// The model's config, with parameters of `dtype`.
    ///
    /// # Errors
    /// Options that are unknown, out of range or cannot be beside each other.
    pub fn config(&self, dtype: DType) -> Result<EncoderConfig, FilesError> {
        let (path, entry) = (self.dir.join(CONFIG), self.entry);
        let options = options(&path, &self.json, entry.fields, &[], entry.build.ignored)?;
        registered::configured(&ENCODERS, entry, options, dtype, &path, entry.build.configure)
    }

    /// What the model is for, by its config.json.
    ///
    /// # Errors
    /// A class that is not supported; labels that are wrong.
    pub fn task(&self) -> Result<EncoderTask, FilesError> {
        let class = self.config(DType::F32)?.class();
        EncoderTask::from_json(class, &self.json)
            .map_err(|reason| FilesError::Json { path: self.dir.join(CONFIG), reason })
    }

    /// The type that the files hold.
    ///
    /// # Errors
    /// Tensors of no floating-point numbers; none at all.
    pub fn dtype(&self) -> Result<DType, FilesError> {
        self.folder(&|name| Some(name.to_owned()))?.dtype()
    }

    /// The files that hold the model, sorted: config.json and those of tensors.
    ///
    /// # Errors
    /// Files of tensors that are missing or damaged.
    pub fn paths(&self) -> Result<Vec<PathBuf>, FilesError> {
        let mut paths = self.folder(&|name| Some(name.to_owned()))?.paths();
        paths.push(self.dir.join(CONFIG));
        paths.sort();
        Ok(paths)
    }

    /// How the files store the numbers of parameters of a model for `task`, by their names, such as `F16`.
    ///
    /// # Errors
    /// Files of tensors that are missing or damaged.
    pub fn stored_as(
        &self,
        task: &EncoderTask,
    ) -> Result<impl Fn(&str) -> Option<String> + use<>, FilesError> {
        let config = self.config(DType::F32)?;
        let folder = self.folder(&|name| canonical(&config.shape, task, task, name))?;
        Ok(move |name: &str| folder.stored_as(name))
    }

    /// The model of `config` with its values, in `params`, which is empty, and with the head for `task`. A head that the
    /// files do not hold, since their own is for another task or other labels, begins with random values. Numbers of
    /// another type than the parameters' are rounded where `convert`; parameters whose names are `frozen` are constants.
    ///
    /// # Errors
    /// As [`PretrainedEncoder::load`].
    pub fn load(
        self,
        mut params: Params,
        config: EncoderConfig,
        task: EncoderTask,
        convert: bool,
        frozen: &dyn Fn(&str) -> bool,
    ) -> Result<PretrainedEncoder, FilesError> {
        let stored_task = self.task()?;
        let shape = &config.shape;
        let mut folder = self.folder(&|name| canonical(shape, &task, &stored_task, name))?;
        let pooler = shape.names.pooler.filter(|_| task == EncoderTask::Embedding);
        let pooler = pooler.filter(|name| folder.has(&format!("{name}.weight")));
        let head = head_of(shape, &task).copied();
        let values = [Values::Placeholders, Values::Drawn];
        let aliases = aliases(shape, &task);
        let model = Encoder::new(&mut params, config, task, pooler.is_some(), values);
        // Nothing reads the pooler, so nothing trains it.
        let of_pooler = |name: &str| pooler.is_some_and(|part| is_within(name, part));
        params.freeze(|name: &str| frozen(name) || of_pooler(name))?;
        let is_new = |name: &str| {
            *model.task() != stored_task
                && head.is_some_and(|head| head.has(name))
                && !folder.has(name)
        };
        let adapters = params.adapters();
        let entries = params.entries().into_iter().map(|entry| (entry.name, entry.shape));
        let in_files = |name: &String| !is_new(name) && !adapters.contains(name);
        let wanted: Vec<(String, Shape)> = entries.filter(|(name, _)| in_files(name)).collect();
        let aliases: Vec<(&str, &str)> =
            aliases.iter().map(|(alias, name)| (alias.as_str(), name.as_str())).collect();
        folder.check(&wanted, &aliases)?;
        fill(&mut params, &Places::Folder(&folder), convert)?;
        let mut extra = further(self.json);
        extra.retain(|key, _| !OF_LABELS.contains(&key.as_str()));
        Ok(PretrainedEncoder { model, params, extra })
    }

    fn folder(&self, canonical: &dyn Fn(&str) -> Option<String>) -> Result<Folder, FilesError> {
        Folder::open(&self.dir, canonical)
    }
}

/// Keys of config.json that the task says anew.
const OF_LABELS: &[&str] = &["_num_labels", "id2label", "label2id", "num_labels", "problem_type"];

fn head_of<'a>(shape: &'a EncoderShape, task: &EncoderTask) -> Option<&'a HeadShape> {
    match task {
        EncoderTask::Embedding => None,
        EncoderTask::MaskedLanguageModel => Some(&shape.for_masked),
        EncoderTask::SequenceClassification(_) => Some(&shape.for_sequences),
        EncoderTask::TokenClassification(_) => Some(&shape.for_tokens),
    }
}

/// Second names under which files of a masked language model may hold its tied parameters.
fn aliases(shape: &EncoderShape, task: &EncoderTask) -> Vec<(String, String)> {
    if *task != EncoderTask::MaskedLanguageModel {
        return Vec::new();
    }
    let (head, names) = (&shape.for_masked, shape.names);
    let matrix =
        (format!("{}.weight", head.out), format!("{}.{}.weight", names.prefix, names.tokens));
    let bias = head.bias.map(|bias| (format!("{}.bias", head.out), bias.to_owned()));
    [matrix].into_iter().chain(bias.filter(|(alias, name)| alias != name)).collect()
}

/// What files with a masked language model's head may hold beside it: BERT's for sentences that follow each other.
const UNREAD: &[&str] = &["cls.seq_relationship"];

/// The parameter's name, in a model for `task`, of a tensor in files of a model for `stored`; nothing for what is stored
/// but never trained, and for heads that this model does not have.
fn canonical(
    shape: &EncoderShape,
    task: &EncoderTask,
    stored: &EncoderTask,
    name: &str,
) -> Option<String> {
    let names = shape.names;
    if name.ends_with(".position_ids") || name.ends_with("rotary_emb.inv_freq") {
        return None;
    }
    // Names of the first files of BERT.
    let name = match (name.strip_suffix("LayerNorm.gamma"), name.strip_suffix("LayerNorm.beta")) {
        (Some(start), _) => format!("{start}LayerNorm.weight"),
        (_, Some(start)) => format!("{start}LayerNorm.bias"),
        _ => name.to_owned(),
    };
    let head = head_of(shape, task);
    if names.heads.iter().any(|part| is_within(&name, part)) {
        let is_own = task == stored && !UNREAD.iter().any(|part| is_within(&name, part));
        return is_own.then_some(name);
    }
    let bare = name.strip_prefix(names.prefix).and_then(|rest| rest.strip_prefix('.'));
    let bare = bare.unwrap_or(&name);
    let full = match task {
        EncoderTask::Embedding => bare.to_owned(),
        _ => format!("{}.{bare}", names.prefix),
    };
    let is_pooler = names.pooler.is_some_and(|pooler| is_within(bare, pooler));
    let is_read = *task == EncoderTask::Embedding || head.is_some_and(|head| head.has(&full));
    (!is_pooler || is_read).then_some(full)
}
