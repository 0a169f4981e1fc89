//! Tokenizers of GGUF files: keys of the metadata to what `data` reads, and back.

use rappel_data::GgufTokenizer;
use rappel_model::gguf::{GgufFile, MetaValue, Metadata};

const ARCHITECTURE: &str = "general.architecture";
const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

/// What a file says of its tokenizer.
pub(super) fn gguf_tokenizer(file: &GgufFile) -> GgufTokenizer {
    let metadata = file.metadata();
    let text = |name: &str| metadata.text(name).map(str::to_owned);
    let texts = |name| metadata.texts(&key(name)).unwrap_or_default().to_vec();
    let id = |name| metadata.int(&key(name)).and_then(|id| u32::try_from(id).ok());
    let flag = |name| metadata.bool(&key(name));
    let scores = match metadata.get(&key("scores")) {
        Some(MetaValue::Floats(scores)) => scores.clone(),
        _ => Vec::new(),
    };
    GgufTokenizer {
        architecture: text(ARCHITECTURE).unwrap_or_default(),
        model: text(&key("model")).unwrap_or_default(),
        pre: text(&key("pre")),
        tokens: texts("tokens"),
        scores,
        token_type: metadata.ints(&key("token_type")).unwrap_or_default().to_vec(),
        merges: texts("merges"),
        bos_token_id: id("bos_token_id"),
        eos_token_id: id("eos_token_id"),
        unknown_token_id: id("unknown_token_id"),
        padding_token_id: id("padding_token_id"),
        add_bos_token: flag("add_bos_token"),
        add_eos_token: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
        chat_template: text(CHAT_TEMPLATE),
    }
}

/// The keys that say it.
pub(super) fn gguf_keys(tokenizer: GgufTokenizer) -> Metadata {
    let mut metadata = Metadata::default();
    let GgufTokenizer {
        architecture: _,
        model,
        pre,
        tokens,
        scores,
        token_type,
        merges,
        bos_token_id,
        eos_token_id,
        unknown_token_id,
        padding_token_id,
        add_bos_token,
        add_eos_token,
        add_space_prefix,
        chat_template,
    } = tokenizer;
    let mut set = |name: &str, value: Option<MetaValue>| {
        if let Some(value) = value {
            metadata.set(key(name), value);
        }
    };
    let id = |id: Option<u32>| id.map(|id| MetaValue::Int(i64::from(id)));
    set("model", Some(MetaValue::Text(model)));
    set("pre", pre.map(MetaValue::Text));
    set("tokens", Some(MetaValue::Texts(tokens)));
    set("scores", (!scores.is_empty()).then_some(MetaValue::Floats(scores)));
    set("token_type", Some(MetaValue::Ints(token_type)));
    set("merges", (!merges.is_empty()).then_some(MetaValue::Texts(merges)));
    set("bos_token_id", id(bos_token_id));
    set("eos_token_id", id(eos_token_id));
    set("unknown_token_id", id(unknown_token_id));
    set("padding_token_id", id(padding_token_id));
    set("add_bos_token", add_bos_token.map(MetaValue::Bool));
    set("add_eos_token", add_eos_token.map(MetaValue::Bool));
    set("add_space_prefix", add_space_prefix.map(MetaValue::Bool));
    if let Some(template) = chat_template {
        metadata.set(CHAT_TEMPLATE, MetaValue::Text(template));
    }
    metadata
}
