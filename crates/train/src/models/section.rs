//! The section `model` of a config: an architecture from nothing, or a model that was trained before.

use std::fmt;

use rappel_config::{ConfigError, Entry, Family, Info, OptionSet, Options, Registry, no_more};
use rappel_model::{ARCHITECTURES, ENCODERS};
use toml::Table;

use super::base::{PRETRAINED, PretrainedOptions};

const BASE: Entry<()> = Entry {
    name: PRETRAINED,
    summary: "a model that was trained before, of any of these architectures, with its tokenizer",
    reference: "Howard and Ruder, https://arxiv.org/abs/1801.06146",
    fields: PretrainedOptions::FIELDS,
    build: (),
};

static BASES: [Registry<()>; 2] = [
    Registry { kind: ARCHITECTURES.kind, common: &[], entries: &[BASE], more: no_more },
    Registry { kind: ENCODERS.kind, common: &[], entries: &[BASE], more: no_more },
];

/// The [`ARCHITECTURES`], and models of them that were trained before, which a section with the key `pretrained` is.
pub static MODELS: ModelSection = ModelSection { new: &ARCHITECTURES, trained: &BASES[0] };

/// The same of [`ENCODERS`].
pub static ENCODER_MODELS: ModelSection = ModelSection { new: &ENCODERS, trained: &BASES[1] };

/// Models of some architectures, new or trained before.
#[derive(Clone, Copy)]
pub struct ModelSection {
    new: &'static (dyn Family + Sync),
    trained: &'static Registry<()>,
}

impl fmt::Debug for ModelSection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("ModelSection").field(&self.trained.kind).finish()
    }
}

impl Family for ModelSection {
    fn kind(&self) -> &'static str {
        self.trained.kind
    }

    fn infos(&self) -> Vec<Info> {
        [self.new.infos(), self.trained.infos()].concat()
    }

    fn resolve_options(&self, path: &str, given: &Table) -> Result<Options, ConfigError> {
        let mut given = given.clone();
        if given.contains_key(PRETRAINED) {
            given.entry("name").or_insert_with(|| PRETRAINED.into());
        }
        if given.get("name").and_then(toml::Value::as_str) == Some(PRETRAINED) {
            self.trained.resolve_options(path, &given)
        } else {
            self.new.resolve_options(path, &given)
        }
    }

    fn info(&self, name: &str) -> Result<Info, ConfigError> {
        if name == PRETRAINED { self.trained.info(name) } else { self.new.info(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_sound() {
        rappel_testkit::assert_sound(&MODELS);
        rappel_testkit::assert_sound(&ENCODER_MODELS);
    }
}
