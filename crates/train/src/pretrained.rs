//! A trained model with its tokenizer: generation and evaluation.

use std::path::{Path, PathBuf};

use rappel_data::{Document, Tokenizer};
use rappel_model::{GenerateOptions, LanguageModel, Stop, generate};
use rappel_nn::Forward;
use rappel_tensor::{CrossEntropy, Tensor, no_grad};

use crate::{TrainError, sound};

/// A language model with its tokenizer, as `rappel train` or transformers' `save_pretrained` left
/// them in a folder.
pub struct Pretrained {
    inner: rappel_model::Pretrained,
    tokenizer: Tokenizer,
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
    /// Reads a folder with config.json, model.safetensors and tokenizer.json.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        let inner = model(folder)?;
        let tokenizer = tokenizer(folder, &inner)?;
        Ok(Self { inner, tokenizer })
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model.
    pub fn model(&self) -> &dyn LanguageModel {
        self.inner.model.as_ref()
    }

    /// Continues `prompt` (an empty one: begins a new document), handing out text as it becomes
    /// certain: characters that take several tokens come with their last one. It ends at the end of
    /// the document at the latest. Returns why it ended.
    ///
    /// # Errors
    /// A prompt too long for the model, options out of range, and what `out` returns.
    pub fn generate(
        &self,
        prompt: &str,
        options: &GenerateOptions,
        out: &mut dyn FnMut(&str) -> std::io::Result<()>,
    ) -> Result<Option<Stop>, TrainError> {
        let mut options = options.clone();
        options.eos_token_id.push(self.tokenizer.end_of_document());
        options.eos_token_id.extend(&self.inner.eos_token_id);
        continue_text(self.model(), &self.tokenizer, prompt, &options, out)
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
            ids.extend((i > 0).then(|| self.tokenizer.end_of_document()));
            ids.extend(self.tokenizer.encode(&document.bytes)?);
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

/// The model of a folder, whose parameters are all finite.
pub(crate) fn model(folder: &Path) -> Result<rappel_model::Pretrained, TrainError> {
    let read = rappel_model::Pretrained::load(folder, None)?;
    sound::check_finite(folder, &read.params)?;
    Ok(read)
}

/// The tokenizer of a folder, all of whose tokens `of` knows; the byte tokenizer is recognised, so that
/// it takes any bytes again.
pub(crate) fn tokenizer(
    folder: &Path,
    of: &rappel_model::Pretrained,
) -> Result<Tokenizer, TrainError> {
    let (read, bytes) = (Tokenizer::from_file(folder, None)?, Tokenizer::byte());
    let (model_size, tokens) = (of.model.config().vocab_size(), read.vocab_size());
    if tokens > model_size {
        let folder = folder.to_owned();
        return Err(TrainError::Vocabulary { folder, tokens, model_size });
    }
    Ok(if read.files()[0] == bytes.files()[0] { bytes } else { read })
}

fn within(what: &'static str, value: usize, most: usize) -> Result<usize, TrainError> {
    if (1..=most).contains(&value) {
        Ok(value)
    } else {
        Err(TrainError::Window { what, value, most })
    }
}

/// Continues `prompt`, or begins a document where it is empty.
pub(crate) fn continue_text(
    model: &dyn LanguageModel,
    tokenizer: &Tokenizer,
    prompt: &str,
    options: &GenerateOptions,
    out: &mut dyn FnMut(&str) -> std::io::Result<()>,
) -> Result<Option<Stop>, TrainError> {
    let mut ids = tokenizer.encode(prompt.as_bytes())?;
    if ids.is_empty() {
        ids.push(tokenizer.end_of_document());
    }
    let mut decoder = tokenizer.stream_decoder();
    let mut give = |text: &str| out(text).map_err(TrainError::Output);
    let mut tokens = generate(model, &ids, options.clone())?;
    for id in tokens.by_ref() {
        give(&decoder.push(id?)?)?;
    }
    give(&decoder.finish())?;
    Ok(tokens.stopped())
}

/// The folder of the model that `path` means: itself, or `model/` of the run there.
///
/// # Errors
/// A run that has not written its model yet.
pub fn model_folder(path: &Path) -> Result<PathBuf, TrainError> {
    if path.join("config.json").exists() || !path.join("config.toml").exists() {
        return Ok(path.to_owned());
    }
    let model = path.join("model");
    if model.exists() { Ok(model) } else { Err(TrainError::NoModel { run: path.to_owned() }) }
}
