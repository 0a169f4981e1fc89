//! Odds ratio preference optimization.

use rappel_config::Options;
use rappel_data::{PreferenceBatch, SftBatch};
use rappel_tensor::{DType, Tensor};

use super::figures::{both, halves};
use super::log_probs::{LogProbs, Total};
use super::preferred::{PAIRS, Preferring, Seen};
use crate::Metric;
use crate::models::Pretrained;

/// The section `loss` of the task `orpo`, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub(crate) struct OrpoOptions {
    /// weight of the odds ratio beside the cross-entropy of chosen answers and their prompts
    #[option(default = 0.1, range = 0.0.., aka("pref_beta", "orpo_alpha", "lambda", "alpha"))]
    pub beta: f64,
}

/// `-ln p` of prompts and chosen answers, by token, and `-beta ln sigmoid(ln(odds_chosen / odds_rejected))` with
/// `odds = p / (1 - p)`, where `ln p` is a mean over an answer's tokens; no reference
/// (Hong et al., <https://arxiv.org/abs/2403.07691>).
#[derive(Debug, Clone)]
pub(crate) struct Orpo {
    pub options: OrpoOptions,
}

impl Preferring for Orpo {
    type Model = Pretrained;

    const METRICS: &'static [Metric] = PAIRS;

    fn losses(
        &self,
        model: &Pretrained,
        batch: &PreferenceBatch,
        seen: &Seen<'_>,
    ) -> (Tensor, Total) {
        let answers = batch.lengths.len();
        let pairs = answers / 2;
        let all = with_prompts(&batch.answers, pairs as i64);
        let policy = LogProbs::of(model, &all, answers, seen.forward);
        let nats = policy.chosen_nats();
        let answered = batch.answers.weights.iter().map(|weight| f64::from(*weight));
        let means = policy.means_of(&answered.collect::<Vec<_>>());
        let [chosen, rejected] = both(&means);
        let least = |p: &Tensor| (1.0 - p.exp()).ln();
        let log_odds = (&chosen - &rejected) - (least(&chosen) - least(&rejected));
        let ratio = log_odds.log_sigmoid();
        let losses = &ratio * -self.options.beta + (&nats + &Tensor::zeros([pairs], DType::F64));
        let means = means.to_f64_vec();
        let rewards: Vec<f64> = means.iter().map(|mean| self.options.beta * mean).collect();
        seen.figures.add_pairs(halves(&rewards), halves(&means));
        seen.figures.add("nll_loss", &[nats.item()]);
        seen.figures.add("log_odds_ratio", &ratio.to_f64_vec());
        seen.figures.add("log_odds_chosen", &log_odds.to_f64_vec());
        (losses, policy.total())
    }
}

/// The same answers, of which those before number `chosen` have their prompts predicted, too.
fn with_prompts(batch: &SftBatch, chosen: i64) -> SftBatch {
    let mut all = batch.clone();
    for at in 0..all.targets.len() {
        let of = all.segment_ids[at];
        if of < chosen && all.segment_ids.get(at + 1) == Some(&of) {
            all.targets[at] = all.input_ids[at + 1];
            all.weights[at] = 1.0;
        }
    }
    all
}
