//! Special tokens, and what else the files beside a tokenizer.json say.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::guarded;
use crate::DataError;

/// Names of special tokens; a config may have others, such as `image_token`, under `extra_special_tokens`.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Keys whose lists hold special tokens without a name.
const LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// The file of a fine-tune's tokens in older folders, by their ids.
const ADDED_TOKENS: &str = "added_tokens.json";

/// The file of special tokens in older folders.
const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// The tokenizer_config.json of a folder, with what a special_tokens_map.json adds as transformers adds it:
/// only where the config does not list its added tokens itself.
pub(super) fn read_config(folder: &Path) -> Result<Option<Map<String, Value>>, DataError> {
    let mut config = read_object(&folder.join("tokenizer_config.json"))?;
    let listed = config.as_ref().is_some_and(|config| config.contains_key("added_tokens_decoder"));
    if !listed && let Some(special) = read_object(&folder.join(SPECIAL_TOKENS))? {
        config.get_or_insert_default().extend(special);
    }
    Ok(config)
}

/// The JSON object of a file, if there is such a file.
fn read_object(path: &Path) -> Result<Option<Map<String, Value>>, DataError> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(DataError::read(path))?;
    let object = serde_json::from_str(&text).map_err(|error| {
        DataError::tokenizer(path.to_string_lossy(), format!("is not a JSON object: {error}"))
    })?;
    Ok(Some(object))
}

/// The named special tokens of a tokenizer_config.json, by their names: `bos_token` and so on.
pub(super) fn named(config: &Value) -> BTreeMap<String, String> {
    let mut tokens = BTreeMap::new();
    let extra = config["extra_special_tokens"].as_object().into_iter().flatten();
    let named = NAMES.iter().map(|name| (*name, &config[name]));
    for (name, token) in named.chain(extra.map(|(name, token)| (name.as_str(), token))) {
        tokens.extend(content(token).map(|token| (name.to_owned(), token.to_owned())));
    }
    tokens
}

/// A token given as a text or as an object.
pub(super) fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// Adds the tokens that the files beside tokenizer.json name and the vocabulary lacks, as transformers does:
/// those with ids first, in their order, then the special ones.
pub(super) fn add_missing(
    name: &str,
    folder: Option<&Path>,
    config: &Value,
    inner: &mut tokenizers::Tokenizer,
) -> Result<(), DataError> {
    let mut with_ids: BTreeMap<u32, AddedToken> = BTreeMap::new();
    for (id, token) in config["added_tokens_decoder"].as_object().into_iter().flatten() {
        let bad =
            || DataError::tokenizer(name, format!("added_tokens_decoder: `{id}` is not a token"));
        let id = id.parse().map_err(|_| bad())?;
        with_ids.insert(id, added(token).ok_or_else(bad)?);
    }
    if with_ids.is_empty()
        && let Some(folder) = folder
        && let Some(tokens) = read_object(&folder.join(ADDED_TOKENS))?
    {
        for (token, id) in &tokens {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                DataError::tokenizer(
                    name,
                    format!("{ADDED_TOKENS}: the id of `{token}` is not a number"),
                )
            })?;
            with_ids.insert(id, AddedToken::from(token.clone(), false));
        }
    }
    for (id, token) in with_ids {
        let content = token.content.clone();
        let found = inner.token_to_id(&content);
        if found.is_none() {
            add(name, inner, token)?;
        }
        let found = found.or_else(|| inner.token_to_id(&content)).unwrap_or_default();
        if found != id {
            let reason = format!(
                "gives `{content}` the id {found}, but the files beside it say {id}; they are not of one tokenizer"
            );
            return Err(DataError::tokenizer(name, reason));
        }
    }
    let mut special: Vec<AddedToken> = Vec::new();
    let lists = LISTS.iter().flat_map(|key| config[key].as_array().into_iter().flatten());
    let named = NAMES.iter().map(|name| &config[name]);
    let extra = config["extra_special_tokens"].as_object().into_iter().flatten();
    for token in named.chain(extra.map(|(_, token)| token)).chain(lists) {
        special.extend(added(token).map(|token| AddedToken { special: true, ..token }));
    }
    for token in special {
        if inner.token_to_id(&token.content).is_none() {
            add(name, inner, token)?;
        }
    }
    Ok(())
}

fn add(name: &str, inner: &mut tokenizers::Tokenizer, token: AddedToken) -> Result<(), DataError> {
    guarded(name, || inner.add_tokens([token]))?;
    Ok(())
}

/// A token as the files describe it; a text alone is a special token.
fn added(token: &Value) -> Option<AddedToken> {
    let content = content(token)?.to_owned();
    let flag = |key: &str, default: bool| token[key].as_bool().unwrap_or(default);
    let special = flag("special", true);
    Some(AddedToken {
        content,
        special,
        single_word: flag("single_word", false),
        lstrip: flag("lstrip", false),
        rstrip: flag("rstrip", false),
        normalized: flag("normalized", !special),
    })
}
