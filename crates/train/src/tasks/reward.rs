//! A reward model of answers.

use rappel_config::{Field, Kind, OptionSet};
use rappel_data::{Answers, PreferenceConfig};

use super::preference::Opened;
use super::{Prepared, TaskEntry};
use crate::models::MODELS;
use crate::objectives::preference::{Preferred, Reward, RewardOptions};
use crate::{Config, Learner, Observer, TrainError};

pub(super) const ENTRY: TaskEntry = TaskEntry {
    name: "reward",
    summary: "a reward of an answer: a pretrained model with a head that learns which of two answers is preferred",
    reference: "Ouyang et al., https://arxiv.org/abs/2203.02155",
    fields: &[
        Field::required("data", Kind::Table(PreferenceConfig::FIELDS), "what is learned from"),
        Field::required("model", Kind::Section(&MODELS), "what learns: pretrained"),
        Field::table("loss", RewardOptions::FIELDS, "what is learned for"),
    ],
    build: prepare,
};

fn prepare(config: &Config, observer: &mut dyn Observer) -> Result<Prepared, TrainError> {
    let reward = Reward { options: RewardOptions::from_options(config.section("loss"))? };
    let opened = Opened::new(config, Answers::Scored, observer)?;
    observer.stage("loading the pretrained model")?;
    Ok(Prepared::new(opened.config.clone(), move |config| {
        let params = config.params(opened.base.config().dtype())?;
        let mut model = opened.base.load_reward(params)?;
        if let Some(eos) = opened.eos {
            model.set_eos(eos);
        }
        let (training, held_out) = (opened.training.clone(), opened.held_out.clone());
        Ok(Learner::new(model, training, Preferred::new(reward.clone())).held_out(held_out))
    }))
}
