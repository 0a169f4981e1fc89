//! Simple preference optimization of a language model.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::PreferenceConfig;

use super::preference::without_reference;
use super::{Prepared, TaskEntry};
use crate::models::MODELS;
use crate::objectives::preference::{Cpo, SimpoOptions};
use crate::{Config, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "simpo",
    summary: "simple preference optimization: which of two answers is preferred, by mean log-probabilities; no reference",
    reference: "Meng et al., https://arxiv.org/abs/2405.14734",
    fields: &[
        Field::required("data", Kind::Table(PreferenceConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns: pretrained"),
        Field::table("loss", SimpoOptions::FIELDS, "what is learned for"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let objective = Cpo { options: SimpoOptions::from_options(config.section("loss"))?.into() };
    without_reference(config, objective, observer)
}
