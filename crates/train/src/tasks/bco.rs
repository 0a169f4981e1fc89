//! Binary classifier optimization of a language model.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{Answers, PreferenceConfig};

use super::preference::Opened;
use super::{Prepared, TaskEntry};
use crate::models::MODELS;
use crate::objectives::preference::{Bco, BcoOptions, Computed, Preferred};
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "bco",
    summary: "binary classifier optimization: a pretrained model learns which answers are good and which are bad",
    reference: "Jung et al., https://arxiv.org/abs/2404.04656",
    fields: &[
        Field::required("data", Kind::Table(PreferenceConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns: pretrained"),
        Field::table("loss", BcoOptions::FIELDS, "what is learned for"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let options = BcoOptions::from_options(config.section("loss"))?;
    let mut opened = Opened::new(config, Answers::Labelled, observer)?;
    let references = opened.reference(&options.reference, false, observer)?;
    observer.stage("loading the pretrained model")?;
    Ok(Prepared::new(opened.config.clone(), move |config| {
        let model = opened.model(config)?;
        let reference = references.of(&opened, &model, |_, _, _| Computed::default())?;
        let objective = Preferred::new(Bco { options: options.clone(), reference });
        let (training, held_out) = (opened.training.clone(), opened.held_out.clone());
        Ok(Learner::new(model, training, objective).held_out(held_out))
    }))
}
