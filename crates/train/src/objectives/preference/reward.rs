//! Rewards: a number for an answer, higher for the one that is preferred.

use rappel_config::Options;
use rappel_data::PreferenceBatch;
use rappel_tensor::{DType, Tensor};

use super::figures::{Figures, both, halves};
use super::log_probs::Total;
use super::preferred::{Preferring, Seen};
use crate::Metric;
use crate::metrics::{less, more};
use crate::models::RewardModel;

/// The section `loss` of the task `reward`, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub(crate) struct RewardOptions {
    /// weight of the square of a pair's sum, which keeps rewards around 0 (Eisenstein et al., 2023); unset: 0
    #[option(range = 0.0..)]
    pub center_rewards_coefficient: Option<f64>,
}

/// `-ln sigmoid(r_chosen - r_rejected - margin)`, the mean over pairs (Bradley and Terry, 1952).
#[derive(Debug, Clone)]
pub(crate) struct Reward {
    pub options: RewardOptions,
}

impl Preferring for Reward {
    type Model = RewardModel;

    const METRICS: &'static [Metric] =
        &[less("loss"), more("accuracy"), more("margin"), more("mean_reward")];

    fn losses(
        &self,
        model: &RewardModel,
        batch: &PreferenceBatch,
        seen: &Seen<'_>,
    ) -> (Tensor, Total) {
        let (scores, auxiliary) = model.scores(&batch.answers, seen.forward);
        let total = Total::new(scores.dtype(), auxiliary);
        let scores = scores.to_dtype(DType::F64);
        let [chosen, rejected] = both(&scores);
        let mut apart = &chosen - &rejected;
        if !batch.margins.is_empty() {
            let margins: Vec<f64> = batch.margins.iter().map(|margin| f64::from(*margin)).collect();
            apart = apart - Tensor::from_slice(&margins, [margins.len()]);
        }
        let mut losses = -apart.log_sigmoid();
        if let Some(weight) = self.options.center_rewards_coefficient {
            losses = losses + (chosen + rejected).square() * weight;
        }
        add_rewards(&scores.to_f64_vec(), seen.figures);
        (losses, total)
    }
}

/// Figures of rewards, under TRL's names.
fn add_rewards(rewards: &[f64], figures: &Figures) {
    let [chosen, rejected] = halves(rewards);
    let both = || chosen.iter().zip(rejected);
    let right: Vec<f64> = both().map(|(a, b)| f64::from(u8::from(a > b))).collect();
    let margins: Vec<f64> = both().map(|(a, b)| a - b).collect();
    let extreme = |of: fn(f64, f64) -> f64| rewards.iter().copied().reduce(of).unwrap_or(f64::NAN);
    figures.add("accuracy", &right);
    figures.add("margin", &margins);
    figures.add("mean_reward", rewards);
    figures.add("min_reward", &[extreme(f64::min)]);
    figures.add("max_reward", &[extreme(f64::max)]);
}
