//! Embeddings of texts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rappel_data::{Dataset, Document, TextGroups, TextReader, Tokenizer};
use rappel_model::{
    EncoderFiles, EncoderTask, EncoderTexts, Pooling, PretrainedEncoder, SentenceLayout,
};
use rappel_nn::Forward;
use rappel_tensor::{DType, Params, Tensor, no_grad};
use rayon::prelude::*;

use super::kept::KeptFile;
use super::sentence_metrics::{measure, sentence_metrics};
use super::text::{tokenizer, within};
use super::text_parts::TextParts;
use super::{EvaluateOptions, ModelKind, Scores, TrainedModel, model_folder, sound};
use crate::{Frozen, Model, TrainError};

/// Recognised by the layers that sentence-transformers lists.
pub(super) const KIND: ModelKind = ModelKind {
    name: "embedder",
    is_in: |path| SentenceLayout::read(path).is_ok_and(|layout| layout.is_some()),
    load: |folder| Ok(Box::new(Embedder::load(folder, &EmbedderOptions::default())?)),
};

/// Texts of one forward pass without gradients.
const TEXTS: usize = 32;

/// An encoder that makes a vector of each text, as its files or options say: what a run of the task `embedding` leaves in a
/// folder, and the models of sentence-transformers.
#[derive(Debug)]
pub struct Embedder {
    model: PretrainedEncoder,
    parts: TextParts,
    /// How embeddings are made of states, and what its folder says beside it.
    layout: SentenceLayout,
    max_length: usize,
}

/// What is to be different from what a model's files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmbedderOptions {
    /// How the states of a text's tokens become one. Unset: as the folder of sentence-transformers says.
    pub pooling: Option<Pooling>,
    /// Embeddings of length 1, whatever the folder says.
    pub normalize: bool,
    /// The longest text, in tokens. Unset: as the folder says, at most what the model has positions for.
    pub max_length: Option<usize>,
}

/// Vectors, one for each text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// Those of all texts, one after another.
    pub numbers: Vec<f32>,
    /// How many numbers each has.
    pub width: usize,
    /// Texts whose ends were left out, since they are longer than the model takes.
    pub truncated: usize,
    /// Tokens of all texts that were read.
    pub tokens: usize,
}

/// The longest text that files say, in tokens, at most as long as there are positions.
pub(super) fn max_length(
    layout: Option<&SentenceLayout>,
    tokenizer: Option<&Tokenizer>,
    positions: usize,
) -> usize {
    let said = layout.and_then(|layout| layout.max_length);
    let said = said.or_else(|| tokenizer.and_then(Tokenizer::model_max_length));
    said.unwrap_or(positions).min(positions)
}

impl Embedder {
    /// Reads a folder of sentence-transformers, or any encoder's, in single precision; or a model of the Hugging Face Hub.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together; no pooling, where neither the folder nor `options` say one.
    pub fn load(path: &Path, options: &EmbedderOptions) -> Result<Self, TrainError> {
        let folder = model_folder(path, &mut ())?;
        let layout = SentenceLayout::read(&folder)?;
        let dir = layout.as_ref().map_or(folder.clone(), |layout| layout.encoder.clone());
        let dir = dir.as_path();
        let files = EncoderFiles::open(dir)?;
        let Some(pooling) = options.pooling.or(layout.as_ref().map(|layout| layout.pooling)) else {
            return Err(TrainError::NoPooling { folder });
        };
        let config = files.config(DType::F32)?;
        let tokenizer = tokenizer(dir, config.vocab_size(), None)?;
        let positions = config.max_positions();
        let max_length = match options.max_length {
            Some(asked) => within("max_length", asked, positions)?,
            None => max_length(layout.as_ref(), Some(&tokenizer), positions),
        };
        let params = Params::with_dtype(0, DType::F32);
        let model = files.load(params, config, EncoderTask::Embedding, true, &|_| false)?;
        let normalize = options.normalize || layout.as_ref().is_some_and(|layout| layout.normalize);
        let layout = pooled(layout, pooling, normalize);
        Self::new(model, tokenizer, layout, dir, max_length)
    }

    /// A model with its tokenizer and with the files that it comes with in `folder`.
    ///
    /// # Errors
    /// A parameter that is not finite.
    pub(super) fn new(
        model: PretrainedEncoder,
        tokenizer: Tokenizer,
        layout: SentenceLayout,
        folder: &Path,
        max_length: usize,
    ) -> Result<Self, TrainError> {
        sound::check_finite(folder, &model.params)?;
        let parts = TextParts::new(tokenizer, KeptFile::all(folder)?);
        Ok(Self { model, parts, layout, max_length })
    }

    /// The same, whose frozen parameters are those of files with this hash.
    pub(super) fn frozen_as_in(self, sha256: &str) -> Self {
        let frozen = Frozen::of(&self.model.params, sha256);
        Self { parts: TextParts { frozen, ..self.parts }, ..self }
    }

    /// The model.
    pub fn model(&self) -> &PretrainedEncoder {
        &self.model
    }

    /// The longest text, in tokens.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The embeddings of texts, in their order: `batch_size` of like lengths are computed at a time, after each of which
    /// `progress` gets how many are done.
    ///
    /// # Errors
    /// A text that the tokenizer cannot read or makes no token of.
    pub fn embed(
        &self,
        texts: &[Document],
        batch_size: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Embeddings, TrainError> {
        let read = texts.par_iter().map(|text| self.ids(text)).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<&[u32]> = read.iter().map(|(ids, _)| ids.as_slice()).collect();
        Ok(Embeddings {
            numbers: self.in_batches(&ids, batch_size, progress),
            width: self.width(),
            truncated: read.iter().filter(|(_, cut)| *cut).count(),
            tokens: read.iter().map(|(ids, _)| ids.len()).sum(),
        })
    }

    /// How many numbers the embedding of a text has.
    pub(crate) fn width(&self) -> usize {
        self.model.model.config().hidden_size()
    }

    /// The embeddings of texts of these tokens, one after another, without gradients.
    pub(crate) fn vectors_of(&self, texts: &[&[u32]]) -> Vec<f32> {
        self.in_batches(texts, TEXTS, &mut |_| {})
    }

    fn in_batches(
        &self,
        texts: &[&[u32]],
        batch_size: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Vec<f32> {
        let width = self.width();
        let mut numbers = vec![0.0; texts.len() * width];
        let mut order: Vec<usize> = (0..texts.len()).collect();
        // The longest first: what runs out of memory does so at once.
        order.sort_by_key(|&i| std::cmp::Reverse(texts[i].len()));
        let mut done = 0;
        for batch in order.chunks(batch_size.max(1)) {
            let ids: Vec<&[u32]> = batch.iter().map(|&i| texts[i]).collect();
            let vectors = no_grad(|| self.vectors(&ids, &Forward::evaluation()));
            let vectors = vectors.to_dtype(DType::F32).to_vec::<f32>();
            for (vector, &i) in vectors.chunks_exact(width).zip(batch) {
                numbers[i * width..][..width].copy_from_slice(vector);
            }
            done += batch.len();
            progress(done);
        }
        numbers
    }

    /// The embeddings `[texts, width]` of texts of these tokens.
    #[track_caller]
    pub(crate) fn vectors<T: AsRef<[u32]>>(&self, texts: &[T], forward: &Forward) -> Tensor {
        let SentenceLayout { pooling, normalize, .. } = self.layout;
        self.model.model.embed(&EncoderTexts::new(texts), pooling, normalize, forward)
    }

    /// How it reads the texts of files.
    pub(super) fn reader(&self) -> TextReader<'_> {
        TextReader {
            tokenizer: &self.parts.tokenizer,
            prompt: &self.layout.prompt,
            max_length: self.max_length,
        }
    }

    /// The tokens of a text behind the prompt, and whether its end was left out.
    fn ids(&self, text: &Document) -> Result<(Vec<u32>, bool), TrainError> {
        let whole;
        let prompt = self.layout.prompt.as_bytes();
        let bytes = if prompt.is_empty() {
            &text.bytes
        } else {
            whole = [prompt, &text.bytes].concat();
            &whole
        };
        let (ids, cut) = self.parts.tokenizer.encode_within(bytes, self.max_length, &text.name)?;
        if ids.is_empty() {
            return Err(TrainError::EmptyText { text: text.name.clone() });
        }
        Ok((ids, cut))
    }
}

/// A folder's layout, or one of its own, with this pooling.
pub(super) fn pooled(
    layout: Option<SentenceLayout>,
    pooling: Pooling,
    normalize: bool,
) -> SentenceLayout {
    let layout = layout.unwrap_or_else(|| SentenceLayout {
        encoder: PathBuf::new(),
        pooling,
        normalize,
        max_length: None,
        prompt: String::new(),
        sentences: serde_json::Map::new(),
    });
    SentenceLayout { pooling, normalize, ..layout }
}

impl Model for Embedder {
    fn params(&self) -> &Params {
        &self.model.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.model.params
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.parts.save(&self.model.params, folder, || Ok(self.model.save(folder)?))?;
        let layout = SentenceLayout { max_length: Some(self.max_length), ..self.layout.clone() };
        Ok(layout.write(folder, self.width())?)
    }

    fn frozen(&self) -> Option<Arc<Frozen>> {
        self.parts.frozen.clone()
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.parts.fingerprint())
    }
}

impl TrainedModel for Embedder {
    fn kind(&self) -> &'static str {
        "a model of embeddings"
    }

    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError> {
        if *options != EvaluateOptions::default() {
            let advice = "columns are recognised by their names; leave out the other options";
            return Err(TrainError::Kind { is: self.kind(), advice: advice.to_owned() });
        }
        let data = TextGroups::of_file(file, &self.reader())?;
        let metrics = &sentence_metrics(data.format())[1..];
        let values = metrics.iter().copied().zip(measure(self, &data, data.len())).collect();
        Ok(Scores { values, unit: "rows", count: data.len(), notes: Vec::new() })
    }
}
