//! The trigram baselines of a dataset, in units that models compare with.

use std::ops::Range;

use crate::{DataError, TokenStream, Tokenizer, Tokens, Trigram};

/// What a model's surprise on a stretch of the validation stream comes to.
///
/// Ends of documents are predicted, and counted in `nats` and `tokens`, but are not bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surprise {
    /// The sum of `-ln p`.
    pub nats: f64,
    /// The tokens predicted, in the dataset's tokenizer.
    pub tokens: u64,
    /// The bytes of text they stand for.
    pub bytes: u64,
}

impl Surprise {
    /// Nats per token: what a model's cross-entropy loss is compared with.
    pub fn nats_per_token(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// Nats per byte of text: compares models of different tokenizers.
    pub fn nats_per_byte(&self) -> f64 {
        self.nats / self.bytes as f64
    }

    /// Bits per byte of text.
    pub fn bits_per_byte(&self) -> f64 {
        self.nats_per_byte() / std::f64::consts::LN_2
    }
}

/// A [`Trigram`] over tokens, fitted to the training stream, on a stretch of the validation stream,
/// such as [`TextSamples::targets`](crate::TextSamples::targets).
///
/// # Errors
/// [`DataError::Tokenizer`] for an id outside the tokenizer's vocabulary.
pub fn token_trigram(
    tokenizer: &Tokenizer,
    train: &TokenStream,
    validation: &TokenStream,
    range: Range<usize>,
) -> Result<Surprise, DataError> {
    let end = tokenizer.end_of_document();
    let model = Trigram::fit(&train.tokens, tokenizer.vocab_size(), end);
    Ok(Surprise {
        nats: model.nats(&validation.tokens, range.clone()),
        tokens: range.len() as u64,
        bytes: bytes_of(tokenizer, &validation.tokens, range)?.1,
    })
}

/// As [`token_trigram`], but over the bytes that the tokens stand for. With the byte tokenizer the
/// two are the same model; with others the bytes are what its predictions are made of, while
/// [`Surprise::tokens`] still counts the tokenizer's.
///
/// # Errors
/// As [`token_trigram`].
pub fn byte_trigram(
    tokenizer: &Tokenizer,
    train: &TokenStream,
    validation: &TokenStream,
    range: Range<usize>,
) -> Result<Surprise, DataError> {
    if tokenizer.takes_any_bytes() {
        return token_trigram(tokenizer, train, validation, range);
    }
    let (fitted_on, _) = bytes_of(tokenizer, &train.tokens, 0..train.len())?;
    let model = Trigram::fit(&fitted_on, BYTE_END as usize + 1, BYTE_END);
    let (before, _) = bytes_of(tokenizer, &validation.tokens, 0..range.start)?;
    let (mut stretch, bytes) = (before, bytes_of(tokenizer, &validation.tokens, range.clone())?);
    let start = stretch.len();
    stretch.append(&bytes.0);
    Ok(Surprise {
        nats: model.nats(&stretch, start..stretch.len()),
        tokens: range.len() as u64,
        bytes: bytes.1,
    })
}

/// The symbol that closes a document among bytes.
const BYTE_END: u32 = 256;

/// A stretch of tokens as bytes and ends of documents, and how many are bytes.
fn bytes_of(
    tokenizer: &Tokenizer,
    tokens: &Tokens,
    range: Range<usize>,
) -> Result<(Tokens, u64), DataError> {
    let mut symbols = Tokens::for_vocabulary(BYTE_END as usize + 1);
    let mut bytes = 0;
    let ids: Vec<u32> = tokens.range(range).collect();
    let end = tokenizer.end_of_document();
    for document in ids.split_inclusive(|&id| id == end) {
        let text = tokenizer.decode(document)?;
        bytes += text.len() as u64;
        symbols.extend(text.into_iter().map(u32::from));
        symbols.extend((document.last() == Some(&end)).then_some(BYTE_END));
    }
    Ok((symbols, bytes))
}
