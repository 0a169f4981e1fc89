//! Reading a `tokenizer.json` that exists.

use std::path::Path;

use serde_json::Value;

use super::{Tokenizer, special};
use crate::DataError;

/// Tokens that close a document in well-known vocabularies, asked in this order.
const KNOWN_ENDS: [&str; 6] =
    ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]"];

/// Reads a `tokenizer.json` and what stands beside it.
pub(super) fn load(path: &Path, end_of_document: Option<&str>) -> Result<Tokenizer, DataError> {
    let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    let text = std::fs::read_to_string(&path).map_err(DataError::read(&path))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let config = special::read_config(folder)?.map(Value::Object);
    let json = serde_json::from_str(&text).map_err(|error| {
        DataError::tokenizer(path.to_string_lossy(), format!("is not valid JSON: {error}"))
    })?;
    let name = path.display().to_string();
    Tokenizer::from_json(name, text, &json, config, Some(folder), end_of_document)
}

/// The id of the token that closes a document: the one asked for, else the config's `eos_token`, else a
/// well-known one of the vocabulary.
pub(super) fn choose_end(
    name: &str,
    vocabulary: &tokenizers::Tokenizer,
    config: &Value,
    asked: Option<&str>,
) -> Result<u32, DataError> {
    if let Some(token) = asked.or_else(|| special::content(&config["eos_token"])) {
        return vocabulary
            .token_to_id(token)
            .ok_or_else(|| DataError::tokenizer(name, format!("has no token `{token}`")));
    }
    KNOWN_ENDS.into_iter().find_map(|token| vocabulary.token_to_id(token)).ok_or_else(|| {
        DataError::tokenizer(
            name,
            "names no token that closes a document; set data.end_of_document to one of its tokens",
        )
    })
}
