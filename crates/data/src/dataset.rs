//! From a config to token streams.

use std::sync::Arc;

use crate::config::{DataConfig, TokenizerChoice};
use crate::corpus::Corpus;
use crate::{Batches, DataError, Order, TokenStream, Tokenizer};

/// The data of a run: what the config, the corpus and the seed determine, and nothing else.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// How text became tokens.
    pub tokenizer: Tokenizer,
    /// The training documents.
    pub train: Arc<TokenStream>,
    /// The validation documents; empty with `validation_fraction = 0`.
    pub validation: Arc<TokenStream>,
    sequence_length: usize,
}

impl Dataset {
    /// Reads, splits and encodes the corpus that a config names.
    ///
    /// # Errors
    /// Whatever keeps the corpus from being read, split or encoded, by its [`DataError`].
    pub fn build(config: &DataConfig, seed: u64) -> Result<Self, DataError> {
        Self::build_with(config, seed, None)
    }

    /// As [`build`](Self::build), with a tokenizer from an earlier run in place of the config's.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with(
        config: &DataConfig,
        seed: u64,
        tokenizer: Option<Tokenizer>,
    ) -> Result<Self, DataError> {
        let corpus = Corpus::read(config.source.as_ref(), seed, config.max_bytes)?;
        let (train, validation) = corpus.split(config.validation_fraction);
        let tokenizer = match tokenizer {
            Some(tokenizer) => tokenizer,
            None => choose(&config.tokenizer, &train)?,
        };
        let [train, validation] = [train, validation].map(|side| tokenizer.encode_corpus(&side));
        Ok(Self {
            tokenizer,
            train: Arc::new(train?),
            validation: Arc::new(validation?),
            sequence_length: config.sequence_length,
        })
    }

    /// The training batches; `order` is told how many samples there are.
    ///
    /// # Errors
    /// As [`Batches::new`].
    pub fn train_batches<E: From<DataError>>(
        &self,
        order: impl FnOnce(usize) -> Result<Order, E>,
    ) -> Result<Batches, E> {
        Batches::new(Arc::clone(&self.train), self.sequence_length, order)
    }

    /// The validation batches, at most `max_batches`.
    ///
    /// # Errors
    /// As [`Batches::validation`].
    pub fn validation_batches(
        &self,
        batch_size: usize,
        max_batches: Option<usize>,
    ) -> Result<Batches, DataError> {
        let stream = Arc::clone(&self.validation);
        Batches::validation(stream, self.sequence_length, batch_size, max_batches)
    }

    /// A hash of all tokens and document starts: a resumed run compares it with the first one's.
    pub fn fingerprint(&self) -> u64 {
        self.train.fingerprint() ^ self.validation.fingerprint().rotate_left(1)
    }
}

fn choose(choice: &TokenizerChoice, train: &Corpus) -> Result<Tokenizer, DataError> {
    match choice {
        TokenizerChoice::Byte => Ok(Tokenizer::byte()),
        TokenizerChoice::Bpe { vocab_size, sample_bytes } => {
            Tokenizer::train_bpe(&train.documents, *vocab_size, *sample_bytes)
        }
        TokenizerChoice::File { path, end_of_document } => {
            Tokenizer::from_file(path, end_of_document.as_deref())
        }
    }
}
