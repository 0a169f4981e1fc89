//! Contrastive preference optimization of a language model.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::PreferenceConfig;

use super::preference::without_reference;
use super::{Prepared, TaskEntry};
use crate::models::MODELS;
use crate::objectives::preference::{Cpo, CpoOptions};
use crate::{Config, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "cpo",
    summary: "contrastive preference optimization: which of two answers is preferred; no reference",
    reference: "Xu et al., https://arxiv.org/abs/2401.08417",
    fields: &[
        Field::required("data", Kind::Table(PreferenceConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns: pretrained"),
        Field::table("loss", CpoOptions::FIELDS, "what is learned for"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let objective = Cpo { options: CpoOptions::from_options(config.section("loss"))? };
    without_reference(config, objective, observer)
}
