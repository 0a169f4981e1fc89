//! Reading a `tokenizer.json` that exists.

use std::path::Path;

use serde_json::Value;

use super::Tokenizer;
use crate::DataError;

/// Tokens that close a document in well-known vocabularies, asked in this order.
const KNOWN_ENDS: [&str; 5] = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>"];

/// Reads a `tokenizer.json`, and the `tokenizer_config.json` beside it if there is one.
pub(super) fn load(path: &Path, end_of_document: Option<&str>) -> Result<Tokenizer, DataError> {
    let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    let text = std::fs::read_to_string(&path).map_err(DataError::read(&path))?;
    let config_path = path.with_file_name("tokenizer_config.json");
    let config = if config_path.is_file() {
        let text = std::fs::read_to_string(&config_path).map_err(DataError::read(&config_path))?;
        Some(parse(&config_path, &text)?)
    } else {
        None
    };
    let json = parse(&path, &text)?;
    let end = choose_end(&path, &json, config.as_ref(), end_of_document)?;
    Tokenizer::from_json(path.display().to_string(), text, &json, config, &end)
}

fn parse(path: &Path, text: &str) -> Result<Value, DataError> {
    serde_json::from_str(text).map_err(|error| {
        DataError::tokenizer(path.to_string_lossy(), format!("is no JSON: {error}"))
    })
}

/// The token that closes a document: the one asked for, else the config's `eos_token`, else a
/// well-known one of the vocabulary.
fn choose_end(
    path: &Path,
    json: &Value,
    config: Option<&Value>,
    asked: Option<&str>,
) -> Result<String, DataError> {
    let eos = config.and_then(|config| {
        let eos = &config["eos_token"];
        eos.as_str().or_else(|| eos["content"].as_str())
    });
    if let Some(token) = asked.or(eos) {
        return Ok(token.to_owned());
    }
    let added = || json["added_tokens"].as_array().into_iter().flatten();
    let known = |token: &&str| {
        json["model"]["vocab"].get(token).is_some()
            || added().any(|added| added["content"] == **token)
    };
    KNOWN_ENDS.into_iter().find(known).map(str::to_owned).ok_or_else(|| {
        DataError::tokenizer(
            path.to_string_lossy(),
            "names no token that closes a document; set data.end_of_document to one of its tokens",
        )
    })
}
