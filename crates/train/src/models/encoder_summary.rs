//! What an encoder's folder holds, in figures.

use std::path::Path;

use rappel_model::{EncoderFiles, EncoderTask, PretrainedEncoder, SentenceLayout};
use rappel_tensor::DType;

use super::embedder::max_length;
use super::sound;
use super::text::tokenizer_if_any;
use super::text_summary::{TensorGroup, groups, kind_of};
use crate::TrainError;
use crate::memory::{TrainingMemory, by_optimizer};

/// An encoder of texts in figures.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderSummary {
    /// Hugging Face's `model_type`.
    pub architecture: String,
    /// What its head is for, and the labels that it has.
    pub task: EncoderTask,
    /// How embeddings are made of its states, where its folder says so.
    pub embedding: Option<SentenceLayout>,
    /// The type of its parameters.
    pub dtype: DType,
    /// How many numbers its parameters are.
    pub parameters: usize,
    /// Its parameters, those of all layers together.
    pub tensors: Vec<TensorGroup>,
    /// How many different tokens it knows.
    pub vocab_size: usize,
    /// The longest text, in tokens.
    pub max_positions: usize,
    /// The longest text that is embedded, in tokens, by its files.
    pub max_length: usize,
    /// Numbers in the state of a token, and in an embedding.
    pub hidden_size: usize,
    /// The kind of its tokenizer and how many tokens it has; none where the folder has no tokenizer.
    pub tokenizer: Option<(String, usize)>,
    /// Bytes of its parameters.
    pub inference_bytes: usize,
    /// What training all of it takes with each optimizer, the least first.
    pub training: Vec<TrainingMemory>,
}

impl EncoderSummary {
    /// Whether a folder holds an encoder.
    pub fn is_in(folder: &Path) -> bool {
        let layout = SentenceLayout::read(folder).ok().flatten();
        EncoderFiles::is_in(layout.map_or_else(|| folder.to_owned(), |layout| layout.encoder))
    }

    /// Reads a folder with config.json, model.safetensors and, where there are such, tokenizer.json and the files of
    /// sentence-transformers.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together; a parameter that is not finite.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let embedding = SentenceLayout::read(folder)?;
        let dir = embedding.as_ref().map_or(folder, |layout| &layout.encoder);
        let files = EncoderFiles::open(dir)?;
        let PretrainedEncoder { model, params, .. } = PretrainedEncoder::load(dir, None)?;
        sound::check_finite(dir, &params)?;
        let stored = files.stored_as(model.task())?;
        let tensors = groups(&params, |name| stored(name).unwrap_or_default());
        let config = model.config();
        let (numbers, dtype) = (params.count(), config.dtype());
        let tokenizer = tokenizer_if_any(dir, config.vocab_size())?;
        let positions = config.max_positions();
        Ok(Self {
            max_length: max_length(embedding.as_ref(), tokenizer.as_ref(), positions),
            architecture: config.model_type().to_owned(),
            task: model.task().clone(),
            embedding,
            dtype,
            parameters: tensors.iter().map(|group| group.count * group.shape.count()).sum(),
            tensors,
            vocab_size: config.vocab_size(),
            max_positions: positions,
            hidden_size: config.hidden_size(),
            tokenizer: tokenizer.as_ref().map(kind_of),
            inference_bytes: numbers * dtype.size(),
            training: by_optimizer(&params)?,
        })
    }
}
