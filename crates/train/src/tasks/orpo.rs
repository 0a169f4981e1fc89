//! Odds ratio preference optimization of a language model.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::PreferenceConfig;

use super::preference::without_reference;
use super::{Prepared, TaskEntry};
use crate::models::MODELS;
use crate::objectives::preference::{Orpo, OrpoOptions};
use crate::{Config, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "orpo",
    summary: "odds ratio preference optimization: which of two answers is preferred, and the better one itself; no reference",
    reference: "Hong et al., https://arxiv.org/abs/2403.07691",
    fields: &[
        Field::required("data", Kind::Table(PreferenceConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns: pretrained"),
        Field::table("loss", OrpoOptions::FIELDS, "what is learned for"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let objective = Orpo { options: OrpoOptions::from_options(config.section("loss"))? };
    without_reference(config, objective, observer)
}
