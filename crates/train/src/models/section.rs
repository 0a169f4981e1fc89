//! The section `model` of a config: an architecture from nothing, or a model that was trained before.

use rappel_config::{ConfigError, Entry, Family, Info, OptionSet, Options, Registry, no_more};
use rappel_model::ARCHITECTURES;
use toml::Table;

use super::base::{PRETRAINED, PretrainedOptions};

static BASES: Registry<()> = Registry {
    kind: "model",
    common: &[],
    entries: &[Entry {
        name: PRETRAINED,
        summary: "a model that was trained before, of any of these architectures, with its tokenizer",
        reference: "Howard and Ruder, https://arxiv.org/abs/1801.06146",
        fields: PretrainedOptions::FIELDS,
        build: (),
    }],
    more: no_more,
};

/// The [`ARCHITECTURES`], and models of them that were trained before, which a section with the key `pretrained` is.
pub static MODELS: ModelSection = ModelSection;

/// See [`MODELS`].
#[derive(Debug, Clone, Copy)]
pub struct ModelSection;

impl Family for ModelSection {
    fn kind(&self) -> &'static str {
        ARCHITECTURES.kind
    }

    fn infos(&self) -> Vec<Info> {
        [ARCHITECTURES.infos(), BASES.infos()].concat()
    }

    fn resolve_options(&self, path: &str, given: &Table) -> Result<Options, ConfigError> {
        let mut given = given.clone();
        if given.contains_key(PRETRAINED) {
            given.entry("name").or_insert_with(|| PRETRAINED.into());
        }
        if given.get("name").and_then(toml::Value::as_str) == Some(PRETRAINED) {
            BASES.resolve_options(path, &given)
        } else {
            ARCHITECTURES.resolve_options(path, &given)
        }
    }

    fn info(&self, name: &str) -> Result<Info, ConfigError> {
        if name == PRETRAINED { BASES.info(name) } else { ARCHITECTURES.info(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_sound() {
        rappel_testkit::assert_sound(&MODELS);
    }
}
