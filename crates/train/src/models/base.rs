//! Models that training begins at.

use std::path::{Path, PathBuf};

use glob::Pattern;
use rappel_config::{ConfigError, OptionSet, Options};
use rappel_data::Tokenizer;
use rappel_model::{Common, ModelConfig, ModelFiles, SCORE, WeightStorage};
use rappel_nn::Values;
use rappel_tensor::Params;

use super::adapter::{self, Adapter, InitLora, LoraOptions, TaskType};
use super::{
    GenerationConfig, Pretrained, QuantizationOptions, RewardModel, model_folder, sound, text,
};
use crate::checkpoint::{sha256, sha256_of_file};
use crate::{Observer, TrainError};

/// The name of the entry, and the key that stands for it.
pub(super) const PRETRAINED: &str = "pretrained";

/// A model that was trained before.
#[derive(Debug, Clone, Options)]
pub struct PretrainedOptions {
    /// folder with config.json, model.safetensors and tokenizer.json, folder of a run, GGUF file, or name on the
    /// Hugging Face Hub: org/name, org/name@revision, org/name@revision/file.gguf
    #[option(changeable)]
    pub pretrained: String,
    /// SHA-256 of its file, or of the lines that sha256sum prints of its files; the run's own config.toml holds it
    pub sha256: Option<String>,
    /// parameters that stay as they are, by patterns such as `model.embed_tokens.*`; they take no gradient and no
    /// optimizer state
    #[option(default = [], aka("frozen", "freeze_layers"))]
    pub freeze: Vec<String>,
    /// a low-rank adapter that is trained in place of the model's own parameters, and saved alone
    #[option(aka("adapter", "peft"))]
    pub lora: Option<LoraOptions>,
    /// few bits a number for the weights that an adapter is trained on
    #[option(aka("bnb_config", "quantization_config", "quantization_bit"))]
    pub quantization: Option<QuantizationOptions>,
    /// what every architecture takes
    #[option(flatten)]
    pub common: Common,
}

/// A model that training begins at, opened: its sizes and its tokenizer are known, its values not read.
pub struct Base {
    path: PathBuf,
    config: Box<dyn ModelConfig>,
    options: PretrainedOptions,
    section: Options,
    tokenizer: Tokenizer,
    sha256: String,
}

impl Base {
    /// Whether a section `model` names one.
    pub fn is_in(section: &Options) -> bool {
        section.name() == PRETRAINED
    }

    /// Opens the model that a section names. `end_of_document` is the token that closes a document, where it is not the
    /// tokenizer's own.
    ///
    /// # Errors
    /// What is missing or does not fit together; a hash that is another one than the section's.
    pub fn open(
        section: &Options,
        end_of_document: Option<&str>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let mut options = PretrainedOptions::from_options(section)?;
        options.lora = options.lora.map(LoraOptions::continued).transpose()?;
        let path = model_folder(Path::new(&options.pretrained), observer)?;
        if !path.exists() {
            let reason = format!("there is no folder and no file `{}`", path.display());
            return Err(section.invalid(PRETRAINED, reason).into());
        }
        let Common { dtype, gradient_checkpointing } = options.common;
        let files = ModelFiles::open(&path)?.with("gradient_checkpointing", gradient_checkpointing);
        let config = files.config(dtype)?;
        let bitsandbytes = files.gguf().is_none() && files.has_few_bits();
        let tokenizer = text::tokenizer(&path, config.vocab_size(), end_of_document)?;
        let sha256 = hash_of_model(&path)?;
        check_hash(section, options.sha256.as_ref(), &path, &sha256)?;
        let is_quantized = options.quantization.is_some();
        if options.lora.is_none() && (is_quantized || bitsandbytes) {
            let key = if is_quantized { "quantization" } else { PRETRAINED };
            let reason = "weights of few bits a number cannot be trained; give model.lora, an adapter that can";
            return Err(section.invalid(key, reason).into());
        }
        if let Some(lora) = &options.lora {
            if !options.freeze.is_empty() {
                let reason = "with lora no parameter of the model is trained but those of modules_to_save; leave it out";
                return Err(section.invalid("freeze", reason).into());
            }
            if lora.init_lora_weights.takes_part() && (is_quantized || bitsandbytes) {
                let reason = "pissa and olora take a part of the weights away, which few bits a number cannot lose; \
                              leave out one of this and model.quantization";
                return Err(section.invalid("lora.init_lora_weights", reason).into());
            }
            lora.check_against(config.as_ref())
                .map_err(|(key, reason)| section.invalid(&format!("lora.{key}"), reason))?;
        }
        Ok(Self { path, config, options, section: section.clone(), tokenizer, sha256 })
    }

    /// The model's config.
    pub fn config(&self) -> &dyn ModelConfig {
        self.config.as_ref()
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Gives it another template for conversations.
    pub fn set_chat_template(&mut self, source: String) {
        self.tokenizer.set_chat_template(source);
    }

    /// The tokens that end a text, by its config.json and its generation_config.json.
    ///
    /// # Errors
    /// Files that are not sound.
    pub fn eos_token_id(&self) -> Result<Vec<u32>, TrainError> {
        let mut ids = ModelFiles::open(&self.path)?.eos_token_id();
        if let Some(config) = GenerationConfig::load(&self.path)? {
            ids.extend(config.eos_token_id());
        }
        Ok(ids)
    }

    /// A hash of its files.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Where it is, in full.
    ///
    /// # Errors
    /// A path that a config cannot hold.
    pub fn absolute_path(&self) -> Result<String, TrainError> {
        absolute(&self.path)
    }

    /// The model with its values, in `params`, which is empty.
    ///
    /// # Errors
    /// Tensors that do not fit; a pattern of `freeze` that fits no parameter, or patterns that leave none to train.
    pub fn load(&self, mut params: Params) -> Result<Pretrained, TrainError> {
        if let Some(lora) = &self.options.lora {
            lora.adapt(&mut params);
            let files = ModelFiles::open(&self.path)?;
            let storage = self.storage(&files);
            let files = files.kept(storage);
            let frozen = |name: &str| !lora.trains(name);
            let mut inner = files.load(params, self.config(), true, &frozen)?;
            sound::check_finite(&self.path, &inner.params)?;
            let base = self.absolute_path()?.into();
            let adapter =
                Adapter::begin(lora.clone(), base, TaskType::CausalLm, &mut inner.params)?;
            let model = Pretrained::with_files(inner, self.tokenizer.clone(), &self.path)?;
            return Ok(model.with_adapter(adapter).frozen_as_in(&self.sha256));
        }
        let frozen = self.frozen()?;
        let is_frozen = |name: &str| frozen.iter().any(|pattern| pattern.matches(name));
        let files = ModelFiles::open(&self.path)?;
        let inner = files.load(params, self.config(), true, &is_frozen)?;
        sound::check_finite(&self.path, &inner.params)?;
        let model = Pretrained::with_files(inner, self.tokenizer.clone(), &self.path)?;
        Ok(model.frozen_as_in(&self.sha256))
    }

    /// The model with a head that gives rewards, which is trained whole beside an adapter, in `params`, which is empty.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_reward(&self, mut params: Params) -> Result<RewardModel, TrainError> {
        let Common { dtype, gradient_checkpointing } = self.options.common;
        let files = ModelFiles::open(&self.path)?;
        let mut files = files.with("gradient_checkpointing", gradient_checkpointing);
        let config = files.scorer_config(dtype)?;
        let (adapter, frozen) = if let Some(lora) = &self.options.lora {
            let storage = self.storage(&files);
            files = files.kept(storage);
            let mut options = lora.clone();
            options.modules_to_save.push(SCORE.to_owned());
            options.adapt(&mut params);
            let base = self.absolute_path()?;
            (Some((options, PathBuf::from(base))), Vec::new())
        } else {
            (None, self.frozen()?)
        };
        let is_frozen = |name: &str| match &adapter {
            Some((options, _)) => !options.trains(name),
            None => frozen.iter().any(|pattern| pattern.matches(name)),
        };
        let mut inner = files.load_scorer(params, config.as_ref(), true, &is_frozen)?;
        let begin = |(options, base): (LoraOptions, PathBuf)| {
            Adapter::begin(options, base, TaskType::SeqCls, &mut inner.params)
        };
        let adapter = adapter.map(begin).transpose()?;
        let model = RewardModel::new(inner, self.tokenizer.clone(), &self.path)?;
        Ok(model.trained(adapter, &self.sha256))
    }

    /// How the matrices that an adapter is trained on are kept.
    fn storage(&self, files: &ModelFiles) -> WeightStorage {
        match &self.options.quantization {
            Some(quantization) => quantization.storage(),
            // What bitsandbytes quantized stays so, as it does in transformers.
            None if files.gguf().is_none() => WeightStorage::AsStored,
            None => WeightStorage::Dense,
        }
    }

    /// Whether an adapter is trained and nothing else, and it begins as one that changes nothing, so that without it the
    /// model is what it began as.
    pub fn has_adapter_that_begins_as_nothing(&self) -> bool {
        let begins_as_nothing = |lora: &LoraOptions| {
            lora.modules_to_save.is_empty()
                && lora.adapter_name_or_path.is_none()
                && matches!(lora.init_lora_weights, InitLora::Default | InitLora::Gaussian)
        };
        self.options.lora.as_ref().is_some_and(begins_as_nothing)
    }

    /// The patterns of `freeze`, each of which fits a parameter.
    fn frozen(&self) -> Result<Vec<Pattern>, TrainError> {
        let mut params = Params::new(0);
        self.config.build_with(&mut params, Values::Placeholders);
        patterns(&self.section, &self.options.freeze, &params.names())
    }
}

/// The patterns of `freeze`, each of which fits one of these names, and some name none.
///
/// # Errors
/// A pattern that fits no parameter; patterns that leave none to train.
pub(super) fn patterns(
    section: &Options,
    globs: &[String],
    names: &[String],
) -> Result<Vec<Pattern>, TrainError> {
    let invalid = |reason: String| section.invalid("freeze", reason);
    let pattern = |glob: &String| -> Result<Pattern, ConfigError> {
        let pattern = Pattern::new(glob)
            .map_err(|error| invalid(format!("`{glob}` is not a pattern: {error}")))?;
        if names.iter().any(|name| pattern.matches(name)) {
            return Ok(pattern);
        }
        let example = names.first().map_or("", String::as_str);
        Err(invalid(format!(
            "`{glob}` matches no parameter; patterns are compared with full names such as `{example}`"
        )))
    };
    let patterns = globs.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
    if names.iter().all(|name| patterns.iter().any(|pattern| pattern.matches(name))) {
        return Err(invalid("leaves no parameter to train".to_owned()).into());
    }
    Ok(patterns)
}

/// Refuses another hash than that which a section wants.
pub(super) fn check_hash(
    section: &Options,
    wanted: Option<&String>,
    path: &Path,
    found: &str,
) -> Result<(), TrainError> {
    let Some(wanted) = wanted.filter(|wanted| *wanted != found) else { return Ok(()) };
    let reason = format!(
        "{} is not the model that the run begins at: its SHA-256 is {found}, not {wanted}; bring that \
         one back from a copy, or begin a new run",
        path.display()
    );
    Err(section.invalid("sha256", reason).into())
}

/// A hash of the files of a model or an adapter.
///
/// # Errors
/// Files that are not there.
pub(crate) fn hash_of_model(path: &Path) -> Result<String, TrainError> {
    if adapter::is_in(path) {
        return hash(path, adapter::FILES.map(|name| path.join(name)).to_vec());
    }
    let files = ModelFiles::open(path)?;
    if files.gguf().is_some() { sha256_of_file(path) } else { hash(path, files.paths()) }
}

/// A path in full.
pub(super) fn absolute(path: &Path) -> Result<String, TrainError> {
    let path = std::path::absolute(path).map_err(TrainError::io("resolve", path))?;
    path.into_os_string().into_string().map_err(|path| TrainError::Name { path: path.into() })
}

/// The SHA-256 of the lines `HASH  NAME` of a folder's files, tokenizer.json among them.
pub(super) fn hash(folder: &Path, mut paths: Vec<PathBuf>) -> Result<String, TrainError> {
    let tokenizer = folder.join("tokenizer.json");
    paths.extend(tokenizer.exists().then_some(tokenizer));
    paths.sort();
    let line = |path: &PathBuf| -> Result<String, TrainError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(format!("{}  {name}\n", sha256_of_file(path)?))
    };
    Ok(sha256(&paths.iter().map(line).collect::<Result<String, _>>()?))
}
