//! Text, from a config to token streams.

use std::sync::Arc;

use crate::cache::TokenCache;
use crate::config::{DataConfig, TokenizerChoice};
use crate::corpus::Corpus;
use crate::stamp::Stamp;
use crate::{DataError, TextSamples, TokenStream, Tokenizer};

/// The data of a run: what the config, the corpus and the seed determine, and nothing else.
#[derive(Debug, Clone)]
pub struct Text {
    /// How text became tokens.
    pub tokenizer: Tokenizer,
    /// The training documents.
    pub train: Arc<TokenStream>,
    /// The validation documents; empty with `validation_fraction = 0`.
    pub validation: Arc<TokenStream>,
    /// Of both.
    fingerprints: [u64; 2],
    sequence_length: usize,
    document_attention: bool,
}

impl Text {
    /// Reads, splits and encodes the corpus that a config names.
    ///
    /// # Errors
    /// Whatever keeps the corpus from being read, split or encoded, by its [`DataError`].
    pub fn build(config: &DataConfig, seed: u64) -> Result<Self, DataError> {
        Self::build_with(config, seed, None)
    }

    /// As [`build`](Self::build), with the tokenizer of a pretrained model in place of the config's.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with(
        config: &DataConfig,
        seed: u64,
        tokenizer: Option<Tokenizer>,
    ) -> Result<Self, DataError> {
        let files = config.source.list()?;
        let encoder = match tokenizer {
            Some(tokenizer) => Encoder::Given(tokenizer),
            None => Encoder::of(config.tokenizer.as_ref())?,
        };
        let cache = config.cache.then(TokenCache::of_user).flatten();
        let cache = cache.filter(|_| encoder.takes_time());
        let stamp = cache.as_ref().and_then(|_| Stamp::of(&files));
        let sides = || -> Result<[Corpus; 2], DataError> {
            let corpus =
                Corpus::read_listed(config.source.as_ref(), files, seed, config.max_bytes)?;
            Ok(corpus.split(config.validation_fraction).into())
        };
        let encoded = match (cache, stamp) {
            (Some(cache), Some(stamp)) => {
                let DataConfig { source, max_bytes, validation_fraction, .. } = config;
                let settings = format!("{source:?} {seed} {max_bytes:?} {validation_fraction}");
                cache.encoded_files(&encoder, &stamp, &settings, sides)?
            }
            (Some(cache), None) => cache.encoded(&encoder, &sides()?)?,
            (None, _) => encoder.encode(&sides()?)?,
        };
        let Encoded { tokenizer, streams: [train, validation], fingerprints } = encoded;
        Ok(Self {
            tokenizer,
            train: Arc::new(train),
            validation: Arc::new(validation),
            fingerprints,
            sequence_length: config.sequence_length,
            document_attention: config.document_attention,
        })
    }

    /// The samples to train on.
    ///
    /// # Errors
    /// As [`TextSamples::new`].
    pub fn training(&self) -> Result<TextSamples, DataError> {
        let details = vec![format!("{} in the vocabulary", self.tokenizer.vocab_size())];
        Ok(self.samples("training", &self.train, self.fingerprints[0])?.with_details(details))
    }

    /// The samples to validate on; none with `validation_fraction = 0`.
    ///
    /// # Errors
    /// As [`TextSamples::new`].
    pub fn held_out(&self) -> Result<Option<TextSamples>, DataError> {
        let samples = || self.samples("validation", &self.validation, self.fingerprints[1]);
        (!self.validation.is_empty()).then(samples).transpose()
    }

    fn samples(
        &self,
        split: &'static str,
        stream: &Arc<TokenStream>,
        fingerprint: u64,
    ) -> Result<TextSamples, DataError> {
        let samples = TextSamples::new(split, Arc::clone(stream), self.sequence_length)?;
        Ok(samples.with_segments(self.document_attention).with_fingerprint(fingerprint))
    }
}

/// What makes tokens of training and validation documents.
#[derive(Debug)]
pub(crate) enum Encoder {
    Given(Tokenizer),
    /// A tokenizer that is trained on the training documents first.
    Bpe {
        vocab_size: usize,
        sample_bytes: usize,
    },
}

/// Documents as tokens.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub tokenizer: Tokenizer,
    /// The training and the validation documents.
    pub streams: [TokenStream; 2],
    /// Of both streams.
    pub fingerprints: [u64; 2],
}

impl Encoder {
    fn of(choice: Option<&TokenizerChoice>) -> Result<Self, DataError> {
        Ok(match choice.unwrap_or(&TokenizerChoice::Byte) {
            TokenizerChoice::Byte => Self::Given(Tokenizer::byte()),
            TokenizerChoice::Bpe { vocab_size, sample_bytes } => {
                Self::Bpe { vocab_size: *vocab_size, sample_bytes: *sample_bytes }
            }
            TokenizerChoice::File { path, end_of_document } => {
                Self::Given(Tokenizer::from_file(path, end_of_document.as_deref())?)
            }
        })
    }

    /// Whether to encode a text takes longer than to read its tokens: bytes are tokens already.
    fn takes_time(&self) -> bool {
        !matches!(self, Self::Given(tokenizer) if tokenizer.name() == "byte")
    }

    pub fn encode(&self, sides: &[Corpus; 2]) -> Result<Encoded, DataError> {
        let tokenizer = match self {
            Self::Given(tokenizer) => tokenizer.clone(),
            Self::Bpe { vocab_size, sample_bytes } => {
                Tokenizer::train_bpe(&sides[0].documents, *vocab_size, *sample_bytes)?
            }
        };
        let [train, validation] = sides.each_ref().map(|side| tokenizer.encode_corpus(side));
        let streams = [train?, validation?];
        let fingerprints = streams.each_ref().map(TokenStream::fingerprint);
        Ok(Encoded { tokenizer, streams, fingerprints })
    }
}
