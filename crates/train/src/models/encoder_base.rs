//! Encoders that training begins at.

use std::path::{Path, PathBuf};

use rappel_config::{OptionSet, Options};
use rappel_data::{TextReader, Tokenizer};
use rappel_model::{
    Common, EncoderConfig, EncoderFiles, EncoderTask, Labels, Pooling, PretrainedEncoder, Problem,
    SentenceLayout,
};
use rappel_tensor::{DType, Params};

use super::adapter::{Adapter, LoraOptions, TaskType};
use super::base::{PRETRAINED, PretrainedOptions, absolute, check_hash, hash, patterns};
use super::embedder::{max_length, pooled};
use super::text::{tokenizer, within};
use super::{Embedder, MaskedLanguageModel, TextClassifier, model_folder};
use crate::{Observer, TrainError};

/// The section `model` of a config that learns embeddings.
#[derive(Debug, Clone, Options)]
pub struct EmbedderModelOptions {
    /// The encoder that learns.
    #[option(flatten, required)]
    pub base: PretrainedOptions,
    /// how the states of a text's tokens become one; unset: as a folder of sentence-transformers says, otherwise mean
    #[option(aka("pooling_mode"))]
    pub pooling: Option<Pooling>,
    /// embeddings of length 1; unset: as the folder says, otherwise false
    #[option(aka("normalize_embeddings"))]
    pub normalize: Option<bool>,
}

/// The section `model` of a config that learns labels of texts.
#[derive(Debug, Clone, Options)]
pub struct ClassifierModelOptions {
    /// The encoder that learns.
    #[option(flatten, required)]
    pub base: PretrainedOptions,
    /// what labels are: one of several, any number of several, or a number to predict
    #[option(default = Problem::SingleLabel)]
    pub problem_type: Problem,
}

/// An encoder that training begins at, opened: its sizes and its tokenizer are known, its values not read.
pub struct EncoderBase {
    /// The folder that the config names, and the encoder's: itself, or one in it.
    root: PathBuf,
    path: PathBuf,
    config: EncoderConfig,
    options: PretrainedOptions,
    section: Options,
    tokenizer: Tokenizer,
    sha256: String,
    max_length: usize,
    /// What its folder says of embeddings.
    layout: Option<SentenceLayout>,
}

impl EncoderBase {
    /// Whether a section `model` names one.
    pub fn is_in(section: &Options) -> bool {
        section.name() == PRETRAINED
    }

    /// Opens the encoder that a section `model` names; `most` is the longest text in tokens, where the config says so.
    ///
    /// # Errors
    /// What is missing or does not fit together; a hash that is another one than the section's.
    pub fn open(
        section: &Options,
        most: Option<usize>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let mut options = PretrainedOptions::from_options(section)?;
        options.lora = options.lora.map(LoraOptions::continued).transpose()?;
        if options.quantization.is_some() {
            let reason = "encoders are read whole; leave it out";
            return Err(section.invalid("quantization", reason).into());
        }
        if options.lora.is_some() && !options.freeze.is_empty() {
            let reason = "with lora no parameter of the model is trained but those of modules_to_save; leave it out";
            return Err(section.invalid("freeze", reason).into());
        }
        let path = model_folder(Path::new(&options.pretrained), observer)?;
        if !path.exists() {
            let reason = format!("there is no folder `{}`", path.display());
            return Err(section.invalid(PRETRAINED, reason).into());
        }
        let Common { dtype, gradient_checkpointing } = options.common;
        let layout = SentenceLayout::read(&path)?;
        let root = path;
        let path = layout.as_ref().map_or(root.clone(), |layout| layout.encoder.clone());
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
        Ok(Self { root, path, config, options, section, tokenizer, sha256, max_length, layout })
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
        absolute(&self.root)
    }

    /// The encoder with its values, in `params`, which is empty, and with a head for `labels`: its own, where it has one
    /// for the same, or a new one.
    ///
    /// # Errors
    /// Tensors that do not fit; a pattern of `freeze` that fits no parameter, or patterns that leave none to train.
    pub fn classifier(
        &self,
        mut params: Params,
        labels: Labels,
    ) -> Result<TextClassifier, TrainError> {
        let task = EncoderTask::SequenceClassification(labels);
        let most = Some(self.max_length);
        let tokenizer = self.tokenizer.clone();
        let Some(lora) = &self.options.lora else {
            let inner = self.load(params, task)?;
            let model = TextClassifier::new(inner, tokenizer, &self.path, most)?;
            return Ok(model.trained(None, &self.sha256));
        };
        let mut lora = lora.clone();
        let build = |params: &mut Params| {
            self.config.build(params, task.clone());
        };
        if lora.adapter_name_or_path.is_some() {
            // It says itself what is trained whole; peft also names what other models' heads are called.
            lora.keep_modules_of(build);
        } else {
            // As in peft, the head is trained whole beside an adapter.
            let head = self.config.classifier_layers().into_iter();
            let head: Vec<_> = head.filter(|of| !lora.modules_to_save.contains(of)).collect();
            lora.modules_to_save.extend(head);
        }
        lora.check_layers(build)
            .map_err(|(key, reason)| self.section.invalid(&format!("lora.{key}"), reason))?;
        lora.adapt(&mut params);
        let is_frozen = |name: &str| !lora.trains(name);
        let files = EncoderFiles::open(&self.path)?;
        let mut inner = files.load(params, self.config.clone(), task, true, &is_frozen)?;
        let base = self.absolute_path()?.into();
        let adapter = Adapter::begin(lora.clone(), base, TaskType::SeqCls, &mut inner.params)?;
        let model = TextClassifier::new(inner, tokenizer, &self.path, most)?;
        Ok(model.trained(Some(adapter), &self.sha256))
    }

    /// How texts that are embedded are read: the longest is what a folder of sentence-transformers says, unless the config
    /// does, which gave `most`.
    pub fn reader(&self, most: Option<usize>) -> TextReader<'_> {
        let positions = self.config.max_positions();
        let said = || max_length(self.layout.as_ref(), Some(&self.tokenizer), positions);
        TextReader {
            tokenizer: &self.tokenizer,
            prompt: self.layout.as_ref().map_or("", |layout| &layout.prompt),
            max_length: most.map_or_else(said, |_| self.max_length),
        }
    }

    /// How many numbers an embedding has.
    pub fn width(&self) -> usize {
        self.config.hidden_size()
    }

    /// How embeddings are made, by options and otherwise by its folder.
    pub fn pooling(&self, options: &EmbedderModelOptions) -> (Pooling, bool) {
        let said =
            self.layout.as_ref().map_or((Pooling::Mean, false), |of| (of.pooling, of.normalize));
        (options.pooling.unwrap_or(said.0), options.normalize.unwrap_or(said.1))
    }

    /// The encoder with its values, in `params`, which is empty, as a model of embeddings that reads texts of at most
    /// `max_length` tokens.
    ///
    /// # Errors
    /// As [`classifier`](Self::classifier).
    pub fn embedder(
        &self,
        params: Params,
        (pooling, normalize): (Pooling, bool),
        max_length: usize,
    ) -> Result<Embedder, TrainError> {
        let inner = self.load(params, EncoderTask::Embedding)?;
        let layout = pooled(self.layout.clone(), pooling, normalize);
        let tokenizer = self.tokenizer.clone();
        let model = Embedder::new(inner, tokenizer, layout, &self.path, max_length)?;
        Ok(model.frozen_as_in(&self.sha256))
    }

    /// The longest text that it has positions for, in tokens.
    pub fn positions(&self) -> usize {
        self.config.max_positions()
    }

    /// The encoder with its values, in `params`, which is empty, and with a head for hidden tokens: its own, where it has one,
    /// or a new one.
    ///
    /// # Errors
    /// As [`classifier`](Self::classifier).
    pub fn masked(&self, params: Params) -> Result<MaskedLanguageModel, TrainError> {
        let inner = self.load(params, EncoderTask::MaskedLanguageModel)?;
        MaskedLanguageModel::trained_before(inner, self.tokenizer.clone(), &self.path)
    }

    fn load(&self, params: Params, task: EncoderTask) -> Result<PretrainedEncoder, TrainError> {
        if self.options.lora.is_some() {
            let reason = "of encoders, only the task sequence_classification trains adapters; leave it out, or name what \
                          stays in model.freeze";
            return Err(self.section.invalid("lora", reason).into());
        }
        let mut names = Params::new(0);
        self.config.build(&mut names, task.clone());
        let frozen = patterns(&self.section, &self.options.freeze, &names.names())?;
        let is_frozen = |name: &str| frozen.iter().any(|pattern| pattern.matches(name));
        let files = EncoderFiles::open(&self.path)?;
        Ok(files.load(params, self.config.clone(), task, true, &is_frozen)?)
    }
}
