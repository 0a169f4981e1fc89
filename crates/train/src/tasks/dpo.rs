//! Direct preference optimization of a language model.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{Answers, PreferenceConfig};

use super::preference::Opened;
use super::{Prepared, TaskEntry};
use crate::models::MODELS;
use crate::objectives::preference::{Dpo, DpoOptions, Preferred};
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "dpo",
    summary: "direct preference optimization: a pretrained model learns which of two answers is preferred",
    reference: "Rafailov et al., https://arxiv.org/abs/2305.18290",
    fields: &[
        Field::required("data", Kind::Table(PreferenceConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns: pretrained"),
        Field::table("loss", DpoOptions::FIELDS, "what is learned for"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let options = DpoOptions::from_options(config.section("loss"))?;
    let mut opened = Opened::new(config, Answers::Pairs, observer)?;
    let references =
        opened.reference(&options.reference, options.precompute_ref_log_probs, observer)?;
    observer.stage("loading the pretrained model")?;
    Ok(Prepared::new(opened.config.clone(), move |config| {
        let model = opened.model(config)?;
        let compute = |of: &_, forward: &_, data: &_| Dpo::compute(&options, of, forward, data);
        let reference = references.of(&opened, &model, compute)?;
        let objective = Preferred::new(Dpo { options: options.clone(), reference });
        let (training, held_out) = (opened.training.clone(), opened.held_out.clone());
        Ok(Learner::new(model, training, objective).held_out(held_out))
    }))
}
