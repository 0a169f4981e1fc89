//! tokenizer.json and tokenizer_config.json of what a GGUF file says.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{GgufTokenizer, SPACE, TokenType, merges, splits};

impl GgufTokenizer {
    /// The tokenizer.json.
    ///
    /// # Errors
    /// What is not known, or does not fit together.
    pub(super) fn to_json(&self) -> Result<Value, String> {
        if self.tokens.is_empty() {
            return Err("has no tokenizer: the key `tokenizer.ggml.tokens` is missing".to_owned());
        }
        let count = self.tokens.len();
        for (key, found) in [("token_type", self.token_type.len()), ("scores", self.scores.len())] {
            if found != 0 && found != count {
                return Err(format!("`tokenizer.ggml.{key}` has {found} items for {count} tokens"));
            }
        }
        let (mut json, tokens) = match self.model.as_str() {
            "gpt2" => (self.of_bytes()?, Cow::from(&self.tokens)),
            "llama" => {
                let tokens = self.with_own_spaces();
                (self.of_sentence_pieces(&tokens)?, Cow::from(tokens))
            }
            other => {
                return Err(format!(
                    "has a tokenizer of the kind `{other}`, which is not supported (known: gpt2, llama)"
                ));
            }
        };
        let rest = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": self.added_tokens(&tokens), "post_processor": self.post_processor(),
        });
        if let (Value::Object(json), Value::Object(rest)) = (&mut json, rest) {
            json.extend(rest);
        }
        Ok(json)
    }

    /// A byte-level BPE.
    fn of_bytes(&self) -> Result<Value, String> {
        let pre = self.pre.as_deref().unwrap_or("default");
        let splits::Splitting { normalizer, pre_tokenizer, ignore_merges } = splits::by_name(pre)?;
        let merges = self.given_merges()?;
        Ok(json!({
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "decoder": {
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
            },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": ignore_merges, "vocab": vocabulary(&self.tokens), "merges": merges,
            },
        }))
    }

    /// The tokens as SentencePiece has them: files write those of nothing but spaces as spaces.
    fn with_own_spaces(&self) -> Vec<String> {
        let spaces = |token: &String| {
            let is_spaces = !token.is_empty() && token.chars().all(|c| c == ' ');
            if is_spaces { SPACE.repeat(token.len()) } else { token.clone() }
        };
        self.tokens.iter().map(spaces).collect()
    }

    /// A BPE of characters with a space of its own, whose other characters become bytes.
    fn of_sentence_pieces(&self, tokens: &[String]) -> Result<Value, String> {
        let is_gemma = self.architecture.starts_with("gemma");
        let merges = if self.merges.is_empty() {
            // Gemma's merges are in the order of its vocabulary, whatever its scores.
            let score = |id: usize| {
                let by_id = -(id as f32);
                if is_gemma { by_id } else { self.scores.get(id).copied().unwrap_or(by_id) }
            };
            merges::merges(tokens, score).into_iter().map(|(a, b)| json!([a, b])).collect()
        } else {
            self.given_merges()?
        };
        let prefix = self.add_space_prefix.unwrap_or(!is_gemma);
        let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
        let normalizer = if prefix {
            let prepend = json!({ "type": "Prepend", "prepend": SPACE });
            json!({ "type": "Sequence", "normalizers": [prepend, replace] })
        } else {
            replace
        };
        let mut decoders = vec![
            json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
            json!({ "type": "ByteFallback" }),
            json!({ "type": "Fuse" }),
        ];
        if prefix {
            decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        }
        let of_type = self.token_type.iter().position(|kind| *kind == TokenType::UNKNOWN);
        let unknown = self.unknown_token_id.map(|id| id as usize).or(of_type);
        Ok(json!({
            "normalizer": normalizer,
            "pre_tokenizer": null,
            "decoder": { "type": "Sequence", "decoders": decoders },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown.and_then(|id| tokens.get(id)),
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
                "byte_fallback": true, "ignore_merges": false, "vocab": vocabulary(tokens),
                "merges": merges,
            },
        }))
    }

    fn given_merges(&self) -> Result<Vec<Value>, String> {
        let pair = |merge: &String| match merge.split_once(' ') {
            Some((a, b)) => Ok(json!([a, b])),
            None => Err(format!("the merge `{merge}` is not two tokens with a space between")),
        };
        self.merges.iter().map(pair).collect()
    }

    /// Tokens that are found in texts before they are split, or never.
    fn added_tokens(&self, tokens: &[String]) -> Vec<Value> {
        let kinds = self.token_type.iter().enumerate();
        let added = kinds.filter_map(|(id, kind)| match *kind {
            // SentencePiece's unknown token is never read from a text, either.
            TokenType::CONTROL | TokenType::UNKNOWN => Some((id, true)),
            TokenType::USER_DEFINED => Some((id, false)),
            _ => None,
        });
        let token = |(id, special): (usize, bool)| {
            json!({
                "id": id, "content": tokens[id], "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": special,
            })
        };
        added.map(token).collect()
    }

    fn token(&self, id: Option<u32>) -> Option<&String> {
        self.tokens.get(id? as usize)
    }

    /// Whether a text begins with the token for that: a vocabulary of SentencePiece's does, where nothing is said.
    fn adds_bos(&self) -> bool {
        self.add_bos_token.unwrap_or(self.model == "llama")
    }

    /// What puts tokens around a text.
    fn post_processor(&self) -> Value {
        let token = |wanted: bool, id: Option<u32>| {
            id.filter(|_| wanted).and_then(|id| Some((id, self.tokens.get(id as usize)?)))
        };
        let bos = token(self.adds_bos(), self.bos_token_id);
        let eos = token(self.add_eos_token == Some(true), self.eos_token_id);
        if bos.is_none() && eos.is_none() {
            return Value::Null;
        }
        let special = |of: Option<(u32, &String)>, part: u8| {
            of.map(|(_, token)| json!({ "SpecialToken": { "id": token, "type_id": part } }))
        };
        let text = |name: &str, part: u8| {
            let text = json!({ "Sequence": { "id": name, "type_id": part } });
            [special(bos, part), Some(text), special(eos, part)].into_iter().flatten()
        };
        let used: Map<String, Value> = [bos, eos]
            .into_iter()
            .flatten()
            .map(|(id, token)| {
                (token.clone(), json!({ "id": token, "ids": [id], "tokens": [token] }))
            })
            .collect();
        json!({
            "type": "TemplateProcessing",
            "single": text("A", 0).collect::<Vec<_>>(),
            "pair": text("A", 0).chain(text("B", 1)).collect::<Vec<_>>(),
            "special_tokens": used,
        })
    }

    /// The tokenizer_config.json.
    pub(super) fn to_config(&self) -> Value {
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": false,
            "add_bos_token": self.adds_bos() && self.bos_token_id.is_some(),
            "add_eos_token": self.add_eos_token == Some(true),
        });
        let tokens = [
            ("bos_token", self.token(self.bos_token_id)),
            ("eos_token", self.token(self.eos_token_id)),
            ("unk_token", self.token(self.unknown_token_id)),
            ("pad_token", self.token(self.padding_token_id)),
            ("chat_template", self.chat_template.as_ref()),
        ];
        for (key, token) in tokens {
            if let Some(token) = token {
                config[key] = token.clone().into();
            }
        }
        config
    }
}

fn vocabulary(tokens: &[String]) -> Map<String, Value> {
    tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Tokenizer;

    /// As llama.cpp's converter writes Gemma's: the text of a token of spaces is spaces, and it is never split.
    #[test]
    fn tokens_of_spaces_are_those_of_the_vocabulary() {
        let tokens =
            ["<pad>", "<eos>", "<bos>", "<unk>", "  ", "   ", SPACE, "a", "b", "\n\n", "\n"];
        let own = TokenType::USER_DEFINED;
        let parts = GgufTokenizer {
            architecture: "gemma3".to_owned(),
            model: "llama".to_owned(),
            tokens: tokens.map(str::to_owned).to_vec(),
            token_type: vec![3, 3, 3, 2, own, own, 1, 1, 1, own, 1],
            bos_token_id: Some(2),
            eos_token_id: Some(1),
            unknown_token_id: Some(3),
            ..GgufTokenizer::default()
        };
        let tokenizer = Tokenizer::from_gguf(&parts, Path::new("x.gguf"), None).unwrap();
        assert_eq!(tokenizer.vocab_size(), tokens.len());
        let again = tokenizer.to_gguf("gemma3", tokens.len()).unwrap();
        assert_eq!((again.tokens, again.token_type), (parts.tokens, parts.token_type));
        assert_eq!(tokenizer.encode(b"a  b\n\na   b a").unwrap(), [7, 4, 8, 9, 7, 5, 8, 6, 7]);
    }
}
