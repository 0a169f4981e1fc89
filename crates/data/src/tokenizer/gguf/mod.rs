//! Tokenizers as GGUF files have them: a vocabulary, merges or scores, and the name of how texts are split.

mod merges;
mod read;
mod splits;
mod write;

use std::path::Path;

use serde_json::Value;

use super::Tokenizer;
use crate::DataError;

/// What a GGUF file says of its tokenizer, under the names of its keys `tokenizer.ggml.*`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufTokenizer {
    /// The architecture of the file's model.
    pub architecture: String,
    /// The kind of tokenizer: `gpt2` for vocabularies of bytes, `llama` for those of SentencePiece.
    pub model: String,
    /// How texts are split before merges.
    pub pre: Option<String>,
    /// The tokens by their ids.
    pub tokens: Vec<String>,
    /// Of each token, from which the order of merges follows where there are no merges.
    pub scores: Vec<f32>,
    /// The type of each token; see llama.cpp's `llama_token_type`.
    pub token_type: Vec<i64>,
    /// Pairs of tokens with a space between, those merged first at the beginning.
    pub merges: Vec<String>,
    /// The token that begins a text.
    pub bos_token_id: Option<u32>,
    /// The token that ends a text.
    pub eos_token_id: Option<u32>,
    /// The token that stands for what the vocabulary lacks.
    pub unknown_token_id: Option<u32>,
    /// The token that fills up batches.
    pub padding_token_id: Option<u32>,
    /// Whether a text begins with `bos_token_id`.
    pub add_bos_token: Option<bool>,
    /// Whether a text ends with `eos_token_id`.
    pub add_eos_token: Option<bool>,
    /// Whether a space is put before a text.
    pub add_space_prefix: Option<bool>,
    /// How messages become a text, in Jinja's language.
    pub chat_template: Option<String>,
}

/// SentencePiece's space.
const SPACE: &str = "\u{2581}";

/// The types of tokens that mean something here.
pub(super) struct TokenType;

impl TokenType {
    pub const NORMAL: i64 = 1;
    pub const UNKNOWN: i64 = 2;
    /// Stands for no text, such as the end of one.
    pub const CONTROL: i64 = 3;
    /// A text that is never split.
    pub const USER_DEFINED: i64 = 4;
    pub const UNUSED: i64 = 5;
    pub const BYTE: i64 = 6;
}

impl Tokenizer {
    /// The tokenizer of a GGUF file at `path`, which is named in errors.
    ///
    /// `end_of_document` is the token that closes a document; by default the one that ends a text.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] for a kind of tokenizer or a way to split that is not known, and as
    /// [`from_file`](Self::from_file).
    pub fn from_gguf(
        parts: &GgufTokenizer,
        path: &Path,
        end_of_document: Option<&str>,
    ) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let json = parts.to_json().map_err(|reason| DataError::tokenizer(&name, reason))?;
        let config = parts.to_config();
        let text = json.to_string();
        Self::from_json(name, text, &json, Some(config), None, end_of_document)
    }

    /// What a GGUF file says of this tokenizer, for a model of `vocab_size` tokens and this architecture.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] where such files have no way to say it.
    pub fn to_gguf(
        &self,
        architecture: &str,
        vocab_size: usize,
    ) -> Result<GgufTokenizer, DataError> {
        let fail = |reason: String| DataError::tokenizer(&self.name, reason);
        let json: Value =
            serde_json::from_str(&self.json).map_err(|error| fail(error.to_string()))?;
        let parts = GgufTokenizer::of(architecture, vocab_size, &json, &self.config);
        Ok(GgufTokenizer {
            chat_template: self.templates.first().map(str::to_owned),
            ..parts.map_err(fail)?
        })
    }
}
