//! Architectures: a file each, named as Hugging Face's `model_type`.
//!
//! Adding one is a file with its `ENTRY` and a line in [`ARCHITECTURES`]: its options are named after
//! its Hugging Face config, and its parameters as in Hugging Face's checkpoints, so that configs and
//! files go in and out without a table.

mod gpt2;

use rappel_registry::{ConfigError, Field, Kind, Options, Registry, no_more};
use rappel_tensor::DType;

use crate::ModelConfig;

pub use gpt2::Gpt2Config;

/// Checks options, given the tokenizer's number of tokens where it is known.
pub type Configure = fn(&Options, Option<usize>) -> Result<Box<dyn ModelConfig>, ConfigError>;

/// How an entry of [`ARCHITECTURES`] becomes a model, and what Hugging Face's files of it hold.
#[derive(Debug, Clone, Copy)]
pub struct Architecture {
    /// Checks the options of a section `model`. The tokenizer's number of tokens, where it is known,
    /// stands in where the section gives no `vocab_size`, and must fit where it does; without
    /// either, it is Hugging Face's default.
    pub configure: Configure,
    /// Switches of Hugging Face's config that change what is computed in ways that are not
    /// supported: they must be off.
    pub unsupported: &'static [&'static str],
    /// The parameter's name for a name in a file; `None` for what is stored but never trained.
    pub canonical: fn(&str) -> Option<String>,
    /// Pairs of names: files of models without a parameter of the first name, since it is tied to
    /// the second, may hold it under either or both.
    pub tied: &'static [(&'static str, &'static str)],
}

/// Every architecture.
pub static ARCHITECTURES: Registry<Architecture> =
    Registry { kind: "model", common: COMMON, entries: &[gpt2::ENTRY], more: no_more };

const COMMON: &[Field] = &[
    Field::new(
        "dtype",
        Kind::OneOf(&["float32", "float64", "bfloat16", "f32", "f64", "bf16"]),
        "\"float32\"",
        "type of parameters and activations",
    )
    .aka(&["torch_dtype", "precision"]),
    Field::new(
        "gradient_checkpointing",
        Kind::Bool,
        "false",
        "keep only each block's input, and compute the block again in the backward pass",
    )
    .aka(&["activation_checkpointing", "recompute"])
    .changeable(),
];

/// The common option `dtype`.
fn dtype(options: &Options) -> DType {
    options.str("dtype").parse().expect("the option takes only names that are known")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sound_and_matches_its_folder() {
        rappel_registry::assert_sound(&ARCHITECTURES);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/architectures");
        rappel_registry::assert_folder_matches(folder.as_ref(), &ARCHITECTURES.names());
    }
}
