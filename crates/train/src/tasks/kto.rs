//! Kahneman-Tversky optimization of a language model.

use rappel_config::{ConfigError, Field, Kind, OptionSet};
use rappel_data::{Answers, Dataset, PreferenceConfig};

use super::preference::Opened;
use super::{Prepared, TaskEntry};
use crate::models::MODELS;
use crate::objectives::preference::{Computed, Kto, KtoLoss, KtoOptions, Preferred};
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "kto",
    summary: "Kahneman-Tversky optimization: a pretrained model learns which answers are good and which are bad",
    reference: "Ethayarajh et al., https://arxiv.org/abs/2402.01306",
    fields: &[
        Field::required("data", Kind::Table(PreferenceConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns: pretrained"),
        Field::table("loss", KtoOptions::FIELDS, "what is learned for"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let options = KtoOptions::from_options(config.section("loss"))?;
    let mut opened = Opened::new(config, Answers::Labelled, observer)?;
    let order = opened.config.order(opened.training.len())?;
    let parts = config.run().train.gradient_accumulation_steps;
    if options.loss_type == KtoLoss::Kto && order.batch_size(0) / parts < 2 {
        let reason = "a forward pass has one answer, and kto compares each prompt with the answer of another; take two at \
                      least for each of train.gradient_accumulation_steps";
        return Err(ConfigError::invalid("train.batch_size", reason).into());
    }
    let references = opened.reference(&options.reference, false, observer)?;
    observer.stage("loading the pretrained model")?;
    Ok(Prepared::new(opened.config.clone(), move |config| {
        let model = opened.model(config)?;
        let reference = references.of(&opened, &model, |_, _, _| Computed::default())?;
        let objective = Preferred::new(Kto { options: options.clone(), reference });
        let (training, held_out) = (opened.training.clone(), opened.held_out.clone());
        Ok(Learner::new(model, training, objective).held_out(held_out))
    }))
}
