//! Architectures: a file each, named as Hugging Face's `model_type`.
//!
//! Adding one is a file with its `ENTRY` and a line in [`ARCHITECTURES`]: its options are named after
//! its Hugging Face config, and its parameters as in Hugging Face's checkpoints, so that configs and
//! files go in and out without a table.

mod gemma2;
mod gemma3_text;
mod gpt2;
mod llama;
mod mistral;
mod mixtral;
mod olmo2;
mod olmo3;
mod olmoe;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod smollm3;

use rappel_config::{ConfigError, Entry, OptionSet, Options, Registry, no_more};
use rappel_tensor::DType;
use serde_json::{Map, Value};

use crate::dtype::DTypeName;
use crate::{GgufDialect, ModelConfig};

pub use gemma2::Gemma2Config;
pub use gemma3_text::Gemma3TextConfig;
pub use gpt2::Gpt2Config;
pub use llama::LlamaConfig;
pub use mistral::MistralConfig;
pub use mixtral::MixtralConfig;
pub use olmo2::Olmo2Config;
pub use olmo3::Olmo3Config;
pub use olmoe::OlmoeConfig;
pub use phi3::Phi3Config;
pub use qwen2::Qwen2Config;
pub use qwen3::Qwen3Config;
pub use qwen3_moe::Qwen3MoeConfig;
pub use smollm3::SmolLm3Config;

/// Checks options, given the tokenizer's number of tokens where it is known.
pub type Configure = fn(&Options, Option<usize>) -> Result<Box<dyn ModelConfig>, ConfigError>;

/// How an entry of [`ARCHITECTURES`] becomes a model, and what Hugging Face's files of it hold.
#[derive(Debug, Clone, Copy)]
pub struct Architecture {
    /// Checks the options of a section `model`. The tokenizer's number of tokens, where it is known,
    /// stands in where the section gives no `vocab_size`, and must fit where it does; without
    /// either, it is Hugging Face's default.
    pub configure: Configure,
    /// Options whose 0 Hugging Face's config writes as null: nothing of the kind.
    pub off: &'static [&'static str],
    /// The parameter's name for a name in a file; `None` for what is stored but never trained.
    pub canonical: fn(&str) -> Option<String>,
    /// Pairs of names: files of models without a parameter of the first name, since it is tied to
    /// the second, may hold it under either or both.
    pub tied: &'static [(&'static str, &'static str)],
    /// What GGUF files call all that.
    pub gguf: GgufDialect,
}

/// Every architecture.
pub static ARCHITECTURES: Registry<Architecture> =
    Registry { kind: "model", common: &[], entries: ENTRIES, more: no_more };

const ENTRIES: &[Entry<Architecture>] = &[
    gemma2::ENTRY,
    gemma3_text::ENTRY,
    gpt2::ENTRY,
    llama::ENTRY,
    mistral::ENTRY,
    mixtral::ENTRY,
    olmo2::ENTRY,
    olmo3::ENTRY,
    olmoe::ENTRY,
    phi3::ENTRY,
    qwen2::ENTRY,
    qwen3::ENTRY,
    qwen3_moe::ENTRY,
    smollm3::ENTRY,
];

/// What every architecture takes, beside its own options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Options)]
pub struct Common {
    /// type of parameters and activations
    #[option(default = DType::F32, with = DTypeName<true>, aka("torch_dtype", "precision"))]
    pub dtype: DType,
    /// keep only each block's input, and compute the block again in the backward pass
    #[option(default = false, aka("activation_checkpointing", "recompute"), changeable)]
    pub gradient_checkpointing: bool,
}

/// The largest size that an option takes.
pub(crate) const LARGEST: u64 = 1 << 32;

/// More parameters than this are taken for a mistake.
pub(crate) const MOST_PARAMETERS: u128 = 1 << 40;

/// Reads an architecture's config from the options of a section `model`; see [`Architecture`].
pub(crate) fn configure<C: OptionSet + ModelConfig + 'static>(
    options: &Options,
    tokens: Option<usize>,
) -> Result<Box<dyn ModelConfig>, ConfigError> {
    let Some(tokens) = tokens else { return Ok(Box::new(C::from_options(options)?)) };
    let config = C::from_options(&options.or(VOCAB_SIZE, tokens as i64))?;
    let given = config.vocab_size();
    if given < tokens {
        let reason = format!("{given} is less than the tokenizer's {tokens} tokens");
        return Err(options.invalid(VOCAB_SIZE, reason + "; leave it out or raise it"));
    }
    Ok(Box::new(config))
}

/// The option that every architecture has for its number of tokens.
const VOCAB_SIZE: &str = "vocab_size";

/// A config as Hugging Face's config.json holds it, for its class of models.
pub(crate) fn hugging_face<C: OptionSet + ModelConfig>(
    config: &C,
    class: &str,
) -> Map<String, Value> {
    let mut json = OptionSet::to_json(config);
    json.remove("gradient_checkpointing");
    let dtype = json.get("dtype").cloned().unwrap_or_default();
    json.extend([
        ("architectures".to_owned(), [class].as_slice().into()),
        ("bos_token_id".to_owned(), Value::Null),
        ("eos_token_id".to_owned(), Value::Null),
        ("model_type".to_owned(), config.model_type().into()),
        // Some classes have a default, which need not be one of this model's tokens.
        ("pad_token_id".to_owned(), Value::Null),
        ("torch_dtype".to_owned(), dtype),
    ]);
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sound_and_matches_its_folder() {
        rappel_testkit::assert_sound(&ARCHITECTURES);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/architectures");
        rappel_testkit::assert_folder_matches(folder.as_ref(), &ARCHITECTURES.names());
    }
}
