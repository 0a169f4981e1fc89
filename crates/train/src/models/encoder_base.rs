//! Encoders that training begins at.

use std::path::{Path, PathBuf};

use rappel_config::{OptionSet, Options};
use rappel_data::Tokenizer;
use rappel_model::{Common, EncoderConfig, EncoderFiles, EncoderTask, Labels};
use rappel_tensor::{DType, Params};

use super::base::{PRETRAINED, PretrainedOptions, absolute, check_hash, hash, patterns};
use super::embedder::max_length;
use super::text::{tokenizer, within};
use super::{TextClassifier, model_folder};
use crate::{Observer, TrainError};

/// An encoder that training begins at, opened: its sizes and its tokenizer are known, its values not read.
pub struct EncoderBase {
    path: PathBuf,
    config: EncoderConfig,
    options: PretrainedOptions,
    section: Options,
    tokenizer: Tokenizer,
    sha256: String,
    max_length: usize,
}

impl EncoderBase {
    /// Opens the encoder that a section `model` names; `most` is the longest text in tokens, where the config says so.
    ///
    /// # Errors
    /// What is missing or does not fit together; a hash that is another one than the section's.
    pub fn open(
        section: &Options,
        most: Option<usize>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let options = PretrainedOptions::from_options(section)?;
        if options.lora.is_some() {
            let reason =
                "encoders have no adapters yet; leave it out, or name what stays in model.freeze";
            return Err(section.invalid("lora", reason).into());
        }
        let path = model_folder(Path::new(&options.pretrained), observer)?;
        if !path.exists() {
            let reason = format!("there is no folder `{}`", path.display());
            return Err(section.invalid(PRETRAINED, reason).into());
        }
        let Common { dtype, gradient_checkpointing } = options.common;
        let files = EncoderFiles::open(&path)?;
        let files = files.with("gradient_checkpointing", gradient_checkpointing);
        let config = files.config(dtype)?;
        let tokenizer = tokenizer(&path, config.vocab_size(), None)?;
        let sha256 = hash(&path, files.paths()?)?;
        check_hash(section, options.sha256.as_ref(), &path, &sha256)?;
        let positions = config.max_positions();
        let max_length = match most {
            Some(most) => within("data.max_length", most, positions)?,
            None => max_length(None, Some(&tokenizer), positions),
        };
        let section = section.clone();
        Ok(Self { path, config, options, section, tokenizer, sha256, max_length })
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// A hash of its files.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The longest text, in tokens.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The type of its parameters.
    pub fn dtype(&self) -> DType {
        self.config.dtype()
    }

    /// Where it is, in full.
    ///
    /// # Errors
    /// A path that a config cannot hold.
    pub fn absolute_path(&self) -> Result<String, TrainError> {
        absolute(&self.path)
    }

    /// The encoder with its values, in `params`, which is empty, and with a head for `labels`: its own, where it has one
    /// for the same, or a new one.
    ///
    /// # Errors
    /// Tensors that do not fit; a pattern of `freeze` that fits no parameter, or patterns that leave none to train.
    pub fn classifier(
        &self,
        params: Params,
        labels: Vec<String>,
    ) -> Result<TextClassifier, TrainError> {
        let task = EncoderTask::SequenceClassification(Labels::single(labels));
        let mut names = Params::new(0);
        self.config.build(&mut names, task.clone());
        let frozen = patterns(&self.section, &self.options.freeze, &names.names())?;
        let is_frozen = |name: &str| frozen.iter().any(|pattern| pattern.matches(name));
        let files = EncoderFiles::open(&self.path)?;
        let inner = files.load(params, self.config.clone(), task, true, &is_frozen)?;
        let most = Some(self.max_length);
        TextClassifier::new(inner, self.tokenizer.clone(), &self.path, most)
    }
}
