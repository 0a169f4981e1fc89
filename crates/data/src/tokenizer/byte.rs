//! The byte tokenizer as a Hugging Face `tokenizer.json`: a byte-level BPE without merges.

use serde_json::{Map, Value, json};

use super::{END_OF_DOCUMENT, alphabet};

/// The id that closes a document; those below it are the bytes.
pub(super) const END_ID: u32 = 256;

pub(super) fn tokenizer_json() -> Value {
    let characters = alphabet::characters();
    let vocabulary: Map<_, _> =
        (0..END_ID).map(|id| (characters[id as usize].to_string(), id.into())).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": END_ID, "content": END_OF_DOCUMENT, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        }],
        "normalizer": null,
        "pre_tokenizer": byte_level(false),
        "post_processor": null,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocabulary, "merges": [],
        },
    })
}

fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
        "use_regex": use_regex,
    })
}
