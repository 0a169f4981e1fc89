//! What a GGUF file says of a tokenizer.json.

use std::collections::HashMap;

use serde_json::Value;

use super::{GgufTokenizer, SPACE, TokenType, splits};

impl GgufTokenizer {
    /// Of a tokenizer with these files, for a model of `vocab_size` tokens.
    pub(super) fn of(
        architecture: &str,
        vocab_size: usize,
        json: &Value,
        config: &Value,
    ) -> Result<Self, String> {
        let model = &json["model"];
        let Some(vocabulary) = model["vocab"].as_object().filter(|_| model["type"] == "BPE") else {
            let kind = model["type"].as_str().unwrap_or("unknown");
            return Err(format!(
                "its model is of the kind {kind}, which cannot be written into a GGUF file (known: BPE)"
            ));
        };
        let id_of = |id: &Value| id.as_u64().map(|id| id as usize).filter(|id| *id < vocab_size);
        let mut tokens: Vec<Option<String>> = vec![None; vocab_size];
        let mut token_type = vec![TokenType::UNUSED; vocab_size];
        let is_sentence_pieces = model["byte_fallback"] == true;
        for (token, id) in vocabulary {
            let Some(id) = id_of(id) else { continue };
            let is_byte = token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
            token_type[id] =
                if is_sentence_pieces && is_byte { TokenType::BYTE } else { TokenType::NORMAL };
            tokens[id] = Some(token.clone());
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let (Some(id), Some(token)) = (id_of(&added["id"]), added["content"].as_str()) else {
                continue;
            };
            let is_unknown = is_sentence_pieces && model["unk_token"] == token;
            token_type[id] = match added["special"] == true {
                true if is_unknown => TokenType::UNKNOWN,
                true => TokenType::CONTROL,
                false => TokenType::USER_DEFINED,
            };
            // See `GgufTokenizer::with_own_spaces`.
            let is_spaces = is_sentence_pieces && token.replace(SPACE, "").is_empty();
            let of_spaces = || " ".repeat(token.chars().count());
            tokens[id] = Some(if is_spaces { of_spaces() } else { token.to_owned() });
        }
        let tokens: Vec<String> = tokens
            .into_iter()
            .enumerate()
            .map(|(id, token)| token.unwrap_or_else(|| format!("[PAD{id}]")))
            .collect();
        let merges = merges(model)?;
        let pre = if is_sentence_pieces { "default" } else { splits::name_of(json)? };
        let ids: HashMap<&str, u32> =
            tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id as u32)).collect();
        let id = |key: &str| {
            let token = &config[key];
            ids.get(token.as_str().or_else(|| token["content"].as_str())?).copied()
        };
        let prefix = is_sentence_pieces.then(|| {
            let prepends = |part: &Value| {
                part["type"] == "Prepend"
                    || part["prepend_scheme"] == "first"
                    || part["prepend_scheme"] == "always"
            };
            let parts = json["normalizer"]["normalizers"].as_array();
            parts.is_some_and(|parts| parts.iter().any(prepends))
                || prepends(&json["pre_tokenizer"])
        });
        let special = |name: &str| {
            json["post_processor"]["single"].as_array().is_some_and(|parts| {
                let token = &config[name];
                let token = token.as_str().or_else(|| token["content"].as_str());
                token.is_some()
                    && parts.iter().any(|part| part["SpecialToken"]["id"].as_str() == token)
            })
        };
        Ok(Self {
            architecture: architecture.to_owned(),
            model: if is_sentence_pieces { "llama" } else { "gpt2" }.to_owned(),
            pre: Some(pre.to_owned()),
            scores: if is_sentence_pieces { scores(&tokens, &merges) } else { Vec::new() },
            bos_token_id: id("bos_token"),
            eos_token_id: id("eos_token"),
            unknown_token_id: id("unk_token"),
            padding_token_id: id("pad_token"),
            add_bos_token: Some(config["add_bos_token"] == true || special("bos_token")),
            add_eos_token: Some(config["add_eos_token"] == true || special("eos_token")),
            add_space_prefix: prefix,
            chat_template: None,
            tokens,
            token_type,
            merges,
        })
    }
}

/// The merges as texts.
fn merges(model: &Value) -> Result<Vec<String>, String> {
    let merge = |merge: &Value| match (merge.as_str(), merge.as_array().map(Vec::as_slice)) {
        (Some(merge), _) => Some(merge.to_owned()),
        (None, Some([a, b])) => Some(format!("{} {}", a.as_str()?, b.as_str()?)),
        _ => None,
    };
    let all = model["merges"].as_array().into_iter().flatten().map(merge);
    all.collect::<Option<_>>().ok_or_else(|| "has a merge that is not two tokens".to_owned())
}

/// Scores from which the merges follow: a token's is the higher, the earlier it is made.
fn scores(tokens: &[String], merges: &[String]) -> Vec<f32> {
    let mut rank = HashMap::new();
    for (at, merge) in merges.iter().enumerate() {
        rank.entry(merge.replacen(' ', "", 1)).or_insert(at);
    }
    let last = merges.len();
    tokens.iter().map(|token| -(rank.get(token).copied().unwrap_or(last) as f32)).collect()
}
