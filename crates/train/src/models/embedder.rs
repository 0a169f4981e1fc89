//! Embeddings of texts.

use std::path::Path;

use rappel_data::{Document, Tokenizer};
use rappel_model::{
    EncoderFiles, EncoderTask, EncoderTexts, Pooling, PretrainedEncoder, SentenceLayout,
};
use rappel_nn::Forward;
use rappel_tensor::{DType, Params, no_grad};
use rayon::prelude::*;

use super::text::{tokenizer, within};
use super::{model_folder, sound};
use crate::TrainError;

/// An encoder that makes a vector of each text, as its files or options say.
#[derive(Debug)]
pub struct Embedder {
    model: PretrainedEncoder,
    tokenizer: Tokenizer,
    pooling: Pooling,
    normalize: bool,
    max_length: usize,
    prompt: Vec<u8>,
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
        let dir = layout.as_ref().map_or(folder.as_path(), |layout| &layout.encoder);
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
        sound::check_finite(dir, &model.params)?;
        Ok(Self {
            model,
            tokenizer,
            pooling,
            normalize: options.normalize || layout.as_ref().is_some_and(|layout| layout.normalize),
            max_length,
            prompt: layout.map(|layout| layout.prompt.into_bytes()).unwrap_or_default(),
        })
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
        let width = self.model.model.config().hidden_size();
        let mut numbers = vec![0.0; texts.len() * width];
        let mut order: Vec<usize> = (0..texts.len()).collect();
        // The longest first: what runs out of memory does so at once.
        order.sort_by_key(|&i| std::cmp::Reverse(read[i].0.len()));
        let mut done = 0;
        for batch in order.chunks(batch_size.max(1)) {
            let ids: Vec<&[u32]> = batch.iter().map(|&i| read[i].0.as_slice()).collect();
            let (encoder, forward) = (&self.model.model, Forward::evaluation());
            let vectors = no_grad(|| {
                let texts = EncoderTexts::new(&ids);
                encoder.embed(&texts, self.pooling, self.normalize, &forward).to_vec::<f32>()
            });
            for (vector, &i) in vectors.chunks_exact(width).zip(batch) {
                numbers[i * width..][..width].copy_from_slice(vector);
            }
            done += batch.len();
            progress(done);
        }
        let truncated = read.iter().filter(|(_, cut)| *cut).count();
        Ok(Embeddings {
            numbers,
            width,
            truncated,
            tokens: read.iter().map(|(ids, _)| ids.len()).sum(),
        })
    }

    /// The tokens of a text behind the prompt, and whether its end was left out.
    fn ids(&self, text: &Document) -> Result<(Vec<u32>, bool), TrainError> {
        let whole;
        let bytes = if self.prompt.is_empty() {
            &text.bytes
        } else {
            whole = [&self.prompt[..], &text.bytes].concat();
            &whole
        };
        let (ids, cut) = self.tokenizer.encode_within(bytes, self.max_length, &text.name)?;
        if ids.is_empty() {
            return Err(TrainError::EmptyText { text: text.name.clone() });
        }
        Ok((ids, cut))
    }
}
