//! How vocabularies of bytes split texts before merges, by the names that GGUF files have for it.

use serde_json::{Value, json};

/// A way to split texts, and its names, the one that is written first.
struct Split {
    names: &'static [&'static str],
    kind: Kind,
    /// Whether texts are brought to composed characters first.
    composed: bool,
    /// Whether a piece that is a token is taken as it is, whatever merges would make of it.
    whole_tokens: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    /// As GPT-2.
    Gpt2,
    /// As GPT-2, after each digit was split off.
    Digits,
    /// By a regular expression.
    Regex(&'static str),
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const fn split(names: &'static [&'static str], kind: Kind) -> Split {
    Split { names, kind, composed: false, whole_tokens: false }
}

const SPLITS: &[Split] = &[
    split(
        &[
            "gpt-2",
            "default",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "jina-en",
            "roberta-bpe",
            "granite-docling",
        ],
        Kind::Gpt2,
    ),
    split(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        Kind::Digits,
    ),
    Split {
        whole_tokens: true,
        ..split(
            &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral"],
            Kind::Regex(LLAMA3),
        )
    },
    split(&["dbrx", "smaug-bpe", "midm-2.0", "lfm2"], Kind::Regex(LLAMA3)),
    Split {
        composed: true,
        ..split(&["qwen2", "deepseek-r1-qwen", "megrez", "kormo"], Kind::Regex(QWEN2))
    },
    split(&["stablelm2", "hunyuan"], Kind::Regex(QWEN2)),
    Split { whole_tokens: true, ..split(&["tekken"], Kind::Regex(TEKKEN)) },
    split(&["gpt-4o", "llama4", "kanana2"], Kind::Regex(GPT4O)),
];

/// The parts of a tokenizer.json that a way to split comes to.
pub(super) struct Splitting {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub ignore_merges: bool,
}

fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex,
    })
}

/// The way that a GGUF file calls `name`.
///
/// # Errors
/// The names that are known.
pub(super) fn by_name(name: &str) -> Result<Splitting, String> {
    let Some(split) = SPLITS.iter().find(|split| split.names.contains(&name)) else {
        let known: Vec<&str> = SPLITS.iter().flat_map(|split| split.names).copied().collect();
        return Err(format!(
            "splits texts as `{name}`, which is not known (known: {}); give the model as a folder with its \
             tokenizer.json",
            known.join(", ")
        ));
    };
    let pre_tokenizer = match split.kind {
        Kind::Gpt2 => byte_level(true),
        Kind::Digits => json!({
            "type": "Sequence",
            "pretokenizers": [{ "type": "Digits", "individual_digits": true }, byte_level(true)],
        }),
        Kind::Regex(regex) => json!({
            "type": "Sequence",
            "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false },
                byte_level(false),
            ],
        }),
    };
    let normalizer = if split.composed { json!({ "type": "NFC" }) } else { Value::Null };
    Ok(Splitting { normalizer, pre_tokenizer, ignore_merges: split.whole_tokens })
}

/// The name of the way in which a tokenizer.json splits texts.
///
/// # Errors
/// One that GGUF files have no name for.
pub(super) fn name_of(json: &Value) -> Result<&'static str, String> {
    let splitter = &json["pre_tokenizer"];
    let steps = match splitter["pretokenizers"].as_array() {
        Some(steps) => steps.iter().collect(),
        None => vec![splitter],
    };
    let is_bytes = |step: &Value, use_regex: bool| {
        step["type"] == "ByteLevel"
            && step["add_prefix_space"] != true
            && (step["use_regex"] != false) == use_regex
    };
    let kind = match steps[..] {
        [bytes] if is_bytes(bytes, true) => Some(Kind::Gpt2),
        // Without merges a split changes nothing.
        [bytes] if is_bytes(bytes, false) && json["model"]["merges"] == json!([]) => {
            Some(Kind::Gpt2)
        }
        [digits, bytes]
            if digits["type"] == "Digits"
                && digits["individual_digits"] == true
                && is_bytes(bytes, true) =>
        {
            Some(Kind::Digits)
        }
        [split, bytes] if split["type"] == "Split" && is_bytes(bytes, false) => {
            let regex = split["pattern"]["Regex"].as_str();
            SPLITS
                .iter()
                .map(|split| split.kind)
                .find(|kind| matches!(kind, Kind::Regex(known) if Some(*known) == regex))
        }
        _ => None,
    };
    let composed = json["normalizer"]["type"] == "NFC";
    let whole_tokens = json["model"]["ignore_merges"] == true;
    let same = |split: &&Split| match (kind, split.kind) {
        (Some(Kind::Gpt2), Kind::Gpt2) | (Some(Kind::Digits), Kind::Digits) => true,
        (Some(Kind::Regex(one)), Kind::Regex(other)) => one == other,
        _ => false,
    };
    // Readers of GGUF compose no characters; which one it is matters where they split alike.
    let mut found = SPLITS.iter().filter(same).collect::<Vec<_>>();
    found.sort_by_key(|split| (split.whole_tokens != whole_tokens, split.composed != composed));
    found.first().map(|split| split.names[0]).ok_or_else(|| {
        "splits texts in a way that GGUF files have no name for; the model can be written as a folder".to_owned()
    })
}
