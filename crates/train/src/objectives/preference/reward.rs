//! Rewards: a number for an answer, higher for the one that is preferred.

use rappel_config::Options;
use rappel_data::{HeldOut, PreferenceBatch, PreferenceSamples};
use rappel_model::activation_bytes;
use rappel_nn::Forward;
use rappel_regularize::ActsOn;
use rappel_tensor::{DType, Tensor, no_grad};

use super::figures::{Figures, both, halves};
use super::log_probs::Total;
use super::preferred::{evaluated, honours};
use crate::metrics::{less, more};
use crate::models::RewardModel;
use crate::objectives::Objective;
use crate::{Metric, Model, Pass};

/// The section `loss` of the task `reward`, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub(crate) struct RewardOptions {
    /// weight of the square of a pair's sum, which keeps rewards around 0 (Eisenstein et al., 2023); unset: 0
    #[option(range = 0.0..)]
    pub center_rewards_coefficient: Option<f64>,
}

/// `-ln sigmoid(r_chosen - r_rejected - margin)`, the mean over pairs (Bradley and Terry, 1952).
#[derive(Debug)]
pub(crate) struct Reward {
    options: RewardOptions,
    figures: Figures,
}

/// What a validation of rewards measures.
pub(crate) const METRICS: &[Metric] =
    &[less("loss"), more("accuracy"), more("margin"), more("mean_reward")];

impl Reward {
    pub fn new(options: RewardOptions) -> Self {
        Self { options, figures: Figures::default() }
    }

    fn losses(
        &self,
        model: &RewardModel,
        batch: &PreferenceBatch,
        forward: &Forward,
        figures: &Figures,
    ) -> (Tensor, Total) {
        let (scores, auxiliary) = model.scores(&batch.answers, forward);
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
        tell(&scores.to_f64_vec(), figures);
        (losses, total)
    }
}

/// Tells of rewards, under TRL's names.
pub(crate) fn tell(rewards: &[f64], figures: &Figures) {
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

impl Objective for Reward {
    type Data = PreferenceSamples;
    type Model = RewardModel;

    fn loss(
        &self,
        model: &RewardModel,
        batch: &PreferenceBatch,
        weight: f64,
        pass: &Pass,
    ) -> Tensor {
        let (losses, total) = self.losses(model, batch, &pass.forward, &self.figures);
        total.of(&losses, weight)
    }

    fn weight(
        &self,
        _: &PreferenceSamples,
        samples: &mut dyn ExactSizeIterator<Item = usize>,
    ) -> f64 {
        samples.len() as f64
    }

    fn metrics(&self, _: &RewardModel) -> &'static [Metric] {
        METRICS
    }

    fn evaluate(&self, model: &RewardModel, held_out: &HeldOut<PreferenceSamples>) -> Vec<f64> {
        let figures = Figures::default();
        let forward = Forward::evaluation();
        let of = |batch| self.losses(model, &batch, &forward, &figures).0.sum().item();
        let losses: f64 = no_grad(|| held_out.batches().map(of).sum());
        evaluated(METRICS, losses / held_out.samples().len() as f64, &figures)
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        self.figures.take()
    }

    fn activation_bytes(
        &self,
        model: &RewardModel,
        data: &PreferenceSamples,
        samples: usize,
        _: bool,
    ) -> usize {
        activation_bytes(model.config(), model.params(), data.most_tokens(samples), false)
    }

    fn honours(&self, _: &RewardModel, on: ActsOn) -> Result<(), &'static str> {
        honours(on)
    }

    fn activations(
        &self,
        model: &RewardModel,
        batch: &PreferenceBatch,
        forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        Some(("the rewards", model.scores(&batch.answers, forward).0))
    }
}
