//! A language model with its tokenizer: training, generation and evaluation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rappel_data::{Document, Tokenizer, read_documents};
use rappel_model::LanguageModel;
use rappel_model::gguf::GgufFile;
use rappel_nn::Forward;
use rappel_tensor::{CrossEntropy, Params, Tensor, no_grad};

use super::adapter::{self, Adapter, TaskType};
use super::gguf::gguf_tokenizer;
use super::kept::KeptFile;
use super::text_parts::TextParts;
use super::{
    EvaluateOptions, GenerationConfig, Loading, ModelKind, Scores, TrainedModel, model_folder,
    sound,
};
use crate::{Frozen, Metric, Model, TrainError};

/// Recognised by its config.json, which Hugging Face's models all have, or as a GGUF file.
pub(super) const KIND: ModelKind = ModelKind {
    name: "language_model",
    is_in: |path| {
        path.join("config.json").exists() || GgufFile::is_named(path) || adapter::is_in(path)
    },
    load: |folder| {
        Ok(Box::new(if adapter::is_in(folder) {
            Pretrained::load_adapter(folder, Loading::default())?
        } else {
            Pretrained::load(folder)?
        }))
    },
};

/// A language model with its tokenizer, as `rappel train` or transformers' `save_pretrained` left
/// them in a folder, or from a GGUF file.
#[derive(Debug)]
pub struct Pretrained {
    inner: rappel_model::Pretrained,
    parts: TextParts,
    generation_config: Option<GenerationConfig>,
}

/// How well a model predicts a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// The mean of `-ln p` over the tokens predicted.
    pub nats_per_token: f64,
    /// Tokens predicted: all of the text but the first.
    pub tokens: usize,
}

impl Evaluation {
    /// `exp(nats_per_token)`.
    pub fn perplexity(&self) -> f64 {
        self.nats_per_token.exp()
    }
}

/// Windows of one forward pass.
const WINDOWS: usize = 8;

impl Pretrained {
    /// A model that is about to be trained on text of this tokenizer.
    pub fn new(model: Box<dyn LanguageModel>, params: Params, tokenizer: Tokenizer) -> Self {
        let eos_token_id = vec![tokenizer.end_of_document()];
        let inner = rappel_model::Pretrained::new(model, params, eos_token_id);
        Self { inner, parts: TextParts::new(tokenizer, Vec::new()), generation_config: None }
    }

    /// A model that is trained further, with the files that it comes with in `folder`.
    pub(super) fn with_files(
        inner: rappel_model::Pretrained,
        tokenizer: Tokenizer,
        folder: &Path,
    ) -> Result<Self, TrainError> {
        let generation_config = GenerationConfig::load(folder)?;
        Ok(Self {
            inner,
            parts: TextParts::new(tokenizer, KeptFile::all(folder)?),
            generation_config,
        })
    }

    /// The same model, whose parameters that are not trained stay as files with this hash have them.
    pub(super) fn frozen_as_in(self, sha256: &str) -> Self {
        let frozen = Frozen::of(&self.inner.params, sha256);
        Self { parts: TextParts { frozen, ..self.parts }, ..self }
    }

    /// The same model, of which an adapter is trained and saved.
    pub(super) fn with_adapter(self, adapter: Adapter) -> Self {
        Self { parts: TextParts { adapter: Some(adapter), ..self.parts }, ..self }
    }

    /// Reads the adapter of a folder with the model that it names.
    pub(super) fn load_adapter(folder: &Path, loading: Loading) -> Result<Self, TrainError> {
        let Adapter { base, task_type, .. } = Adapter::read(folder)?;
        if task_type == TaskType::SeqCls {
            let reason =
                "is of a model that scores texts, not of one that writes; peft opens it".to_owned();
            return Err(TrainError::File { path: folder.join(adapter::CONFIG), reason });
        }
        let found = model_folder(&base, &mut ())?;
        if base.as_os_str().is_empty() || !found.exists() {
            let reason = format!(
                "its model `{}` is not there; name the model and give this folder as --adapter",
                base.display()
            );
            return Err(TrainError::File { path: folder.join(adapter::CONFIG), reason });
        }
        Self::load_adapted(&found, folder, loading)
    }

    /// Reads a model with the adapter of a folder on it.
    pub(super) fn load_adapted(
        base: &Path,
        folder: &Path,
        loading: Loading,
    ) -> Result<Self, TrainError> {
        let inner = adapter::load_adapted(base, folder, loading)?;
        sound::check_finite(folder, &inner.params)?;
        let size = inner.model.config().vocab_size();
        let of_adapter = tokenizer_if_any(folder, size)?;
        let tokenizer = of_adapter.map_or_else(|| tokenizer(base, size, None), Ok)?;
        Self::with_files(inner, tokenizer, base)
    }

    /// Reads a model with the adapters of several folders on it, whose changes are added up.
    pub(super) fn load_several(
        base: &Path,
        folders: &[PathBuf],
        loading: Loading,
    ) -> Result<Self, TrainError> {
        if let [folder] = folders {
            return Self::load_adapted(base, folder, loading);
        }
        let inner = adapter::load_several(base, folders, loading)?;
        for folder in folders {
            sound::check_finite(folder, &inner.params)?;
        }
        let size = inner.model.config().vocab_size();
        Self::with_files(inner, tokenizer(base, size, None)?, base)
    }

    /// Reads a folder with config.json, model.safetensors and tokenizer.json, and generation_config.json if there is
    /// one; or a GGUF file.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        Self::load_as(folder, Loading::default())
    }

    /// [`load`](Self::load), its weights in the type and the form that `loading` says.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_as(folder: &Path, loading: Loading) -> Result<Self, TrainError> {
        // The small files first: what is wrong with them is reported before gigabytes are read.
        let generation_config = GenerationConfig::load(folder)?;
        let inner = model(folder, loading)?;
        let tokenizer = tokenizer(folder, inner.model.config().vocab_size(), None)?;
        Ok(Self {
            inner,
            parts: TextParts::new(tokenizer, KeptFile::all(folder)?),
            generation_config,
        })
    }

    /// Its generation_config.json, if it has one.
    pub fn generation_config(&self) -> Option<&GenerationConfig> {
        self.generation_config.as_ref()
    }

    /// The tokens that end a text, by its config.json and its generation_config.json.
    pub fn eos_token_id(&self) -> Vec<u32> {
        let of_generation = self.generation_config.as_ref().map(GenerationConfig::eos_token_id);
        let mut ids = self.inner.eos_token_id.clone();
        ids.extend(of_generation.unwrap_or_default());
        ids
    }

    /// Gives it another token that ends a text.
    pub fn set_eos(&mut self, id: u32) {
        self.inner.eos_token_id = vec![id];
    }

    /// Gives it another template for conversations.
    pub fn set_chat_template(&mut self, source: impl Into<String>) {
        self.parts.tokenizer.set_chat_template(source);
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    /// The model.
    pub fn model(&self) -> &dyn LanguageModel {
        self.inner.model.as_ref()
    }

    /// The loss on a text, or on documents with an end of document between them, in windows of `window` tokens that overlap: each starts `stride` tokens
    /// after the one before and is scored on its last `stride` tokens only (the first on all but its
    /// first token), so all but the text's beginning is predicted from at least `window - stride`
    /// tokens. This is the recipe of <https://huggingface.co/docs/transformers/perplexity>, the mean
    /// taken over tokens; no token is put before the text.
    ///
    /// `window` is at most the model's positions, by default those; `stride` is at most `window`, by
    /// default half of it.
    ///
    /// # Errors
    /// A text of less than two tokens or that the tokenizer cannot read; a window or stride out of
    /// range.
    pub fn evaluate(
        &self,
        documents: &[Document],
        window: Option<usize>,
        stride: Option<usize>,
    ) -> Result<Evaluation, TrainError> {
        let positions = self.model().config().max_positions();
        let window = within("window", window.unwrap_or(positions), positions)?;
        let stride = within("stride", stride.unwrap_or(window.div_ceil(2)), window)?;
        let mut ids = Vec::new();
        for (i, document) in documents.iter().enumerate() {
            ids.extend((i > 0).then(|| self.parts.tokenizer.end_of_document()));
            ids.extend(self.parts.tokenizer.encode(&document.bytes)?);
        }
        if ids.len() < 2 {
            return Err(TrainError::ShortText { tokens: ids.len() });
        }
        // A short text is one window.
        let window = window.min(ids.len() - 1);
        let stride = stride.min(window);
        let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
        let nats = no_grad(|| self.nats(&ids, window, stride));
        let tokens = ids.len() - 1;
        Ok(Evaluation { nats_per_token: nats / tokens as f64, tokens })
    }

    /// The sum of `-ln p` over all tokens but the first.
    fn nats(&self, ids: &[i64], window: usize, stride: usize) -> f64 {
        // Window w reads from w stride on; the last one that is whole is followed by a shorter one.
        let predicted = ids.len() - 1;
        let whole = (predicted - window) / stride + 1;
        let starts: Vec<usize> = (0..whole).map(|w| w * stride).collect();
        let groups =
            starts.chunks(WINDOWS).map(|starts| self.window_nats(ids, starts, window, stride));
        let nats: f64 = groups.sum();
        let (start, done) = (whole * stride, (whole - 1) * stride + window);
        if done == predicted {
            return nats;
        }
        nats + self.window_nats(ids, &[start], predicted - start, predicted - done)
    }

    /// The same over the last `scored` tokens of windows of `window` tokens; of the first window of
    /// the text over all.
    fn window_nats(&self, ids: &[i64], starts: &[usize], window: usize, scored: usize) -> f64 {
        let options = CrossEntropy { denominator: Some(1.0), ..CrossEntropy::default() };
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for &start in starts {
            inputs.extend_from_slice(&ids[start..start + window]);
            let unscored = if start == 0 { 0 } else { window - scored };
            targets.resize(targets.len() + unscored, options.ignore_index);
            targets.extend_from_slice(&ids[start + 1 + unscored..=start + window]);
        }
        let shape = [starts.len(), window];
        let [inputs, targets] = [inputs, targets].map(|ids| Tensor::from_slice(&ids, shape));
        self.model().loss(&inputs, &targets, None, &options, &Forward::evaluation()).item()
    }
}

impl Model for Pretrained {
    fn params(&self) -> &Params {
        &self.inner.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.inner.params
    }

    fn frozen(&self) -> Option<Arc<Frozen>> {
        self.parts.frozen.clone()
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.parts.save(&self.inner.params, folder, || Ok(self.inner.save(folder)?))
    }

    fn lr_factors(&self) -> Vec<(String, f64)> {
        self.parts.lr_factors()
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.parts.fingerprint())
    }
}

impl Model for rappel_model::Pretrained {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        Ok(rappel_model::Pretrained::save(self, folder)?)
    }
}

impl TrainedModel for Pretrained {
    fn kind(&self) -> &'static str {
        "a language model"
    }

    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError> {
        let EvaluateOptions { window, stride, text_field, label_field } = options;
        if label_field.is_some() {
            let advice = "leave out --label-field".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let documents = read_documents(file, text_field.as_deref().unwrap_or("text"))?;
        let found = self.evaluate(&documents, *window, *stride);
        let found = found.map_err(|error| TrainError::in_file(file, error))?;
        let metric = |name, unit| Metric { name, unit, greater_is_better: false };
        let values = vec![
            (metric("loss", "nats per token"), found.nats_per_token),
            (metric("perplexity", ""), found.perplexity()),
        ];
        Ok(Scores { values, unit: "tokens", count: found.tokens, notes: Vec::new() })
    }

    fn into_language_model(self: Box<Self>) -> Result<Pretrained, TrainError> {
        Ok(*self)
    }
}

/// The model of a folder, whose parameters are all finite.
pub(super) fn model(
    folder: &Path,
    loading: Loading,
) -> Result<rappel_model::Pretrained, TrainError> {
    let Loading { dtype, storage } = loading;
    let read = rappel_model::Pretrained::load_kept(folder, dtype, storage)?;
    sound::check_finite(folder, &read.params)?;
    Ok(read)
}

/// The tokenizer of a folder or a GGUF file, if it has one; see [`tokenizer`].
pub(super) fn tokenizer_if_any(
    path: &Path,
    model_size: usize,
) -> Result<Option<Tokenizer>, TrainError> {
    let is_there = path.join("tokenizer.json").exists() || GgufFile::is_named(path);
    is_there.then(|| tokenizer(path, model_size, None)).transpose()
}

/// The tokenizer of a folder or a GGUF file, all of whose tokens a model of `model_size` tokens knows; the byte tokenizer
/// is recognised, so that it takes any bytes again.
pub(super) fn tokenizer(
    path: &Path,
    model_size: usize,
    end_of_document: Option<&str>,
) -> Result<Tokenizer, TrainError> {
    let read = if GgufFile::is_named(path) {
        let file = GgufFile::open(path)?;
        Tokenizer::from_gguf(&gguf_tokenizer(&file), path, end_of_document)?
    } else {
        Tokenizer::from_file(path, end_of_document)?
    };
    let read = read.taking_any_bytes();
    let tokens = read.vocab_size();
    if tokens > model_size {
        let folder = path.to_owned();
        return Err(TrainError::Vocabulary { folder, tokens, model_size });
    }
    Ok(read)
}

pub(super) fn within(what: &'static str, value: usize, most: usize) -> Result<usize, TrainError> {
    if (1..=most).contains(&value) {
        Ok(value)
    } else {
        Err(TrainError::Window { what, value, most })
    }
}
