//! Binary classifier optimization.

use rappel_config::Options;
use rappel_data::PreferenceBatch;
use rappel_tensor::Tensor;

use super::doubts::review;
use super::figures::{CHOSEN, LOGPS_CHOSEN, LOGPS_REJECTED, MARGINS, REJECTED};
use super::kto::{record, shift};
use super::log_probs::{LogProbs, Total};
use super::preferred::{Preferring, Seen};
use super::reference::{Reference, ReferenceOptions, ratios};
use crate::metrics::{less, more};
use crate::models::Pretrained;
use crate::{Metric, Newest, Verdict};

/// The section `loss` of the task `bco`.
#[derive(Debug, Clone, PartialEq, Options)]
pub(crate) struct BcoOptions {
    /// how near the policy stays to the reference
    #[option(default = 0.1, range = 0.0.., aka("pref_beta", "rl_beta"))]
    pub beta: f64,
    /// Which model the reference is.
    #[option(flatten)]
    pub reference: ReferenceOptions,
}

/// A classifier of good and bad answers whose logit is the reward `r = beta ln(policy / reference)` less a shift
/// (Jung et al., <https://arxiv.org/abs/2404.04656>): `-ln sigmoid(r - shift)` of good ones, `-ln sigmoid(shift - r)` of bad ones.
///
/// The shift is the middle between the mean rewards of good and of bad answers of a forward pass, without gradients. The
/// paper takes means over earlier passes, too.
#[derive(Debug, Clone)]
pub(crate) struct Bco {
    pub options: BcoOptions,
    pub reference: Reference,
}

impl Preferring for Bco {
    type Model = Pretrained;

    const METRICS: &'static [Metric] = &[
        less("loss"),
        more(MARGINS),
        more(CHOSEN),
        less(REJECTED),
        more(LOGPS_CHOSEN),
        less(LOGPS_REJECTED),
    ];

    fn losses(
        &self,
        model: &Pretrained,
        batch: &PreferenceBatch,
        seen: &Seen<'_>,
    ) -> (Tensor, Total) {
        let (beta, answers) = (self.options.beta, batch.lengths.len());
        let policy = LogProbs::of(model, &batch.answers, answers, seen.forward);
        let sums = policy.sums(None);
        let reference = self.reference.sums(model, batch, None, seen.held_out);
        let rewards: Vec<f64> = ratios(&sums, &reference).iter().map(|h| beta * h).collect();
        let apart = (&sums - &Tensor::from_slice(&reference, [answers])) * beta;
        let signs: Vec<f64> = batch.labels.iter().map(|is| if *is { 1.0 } else { -1.0 }).collect();
        let shift = shift(batch, &rewards);
        let gain = (apart - shift) * Tensor::from_slice(&signs, [answers]);
        record(batch, &rewards, &sums.to_f64_vec(), seen);
        seen.figures.add("shift", &[shift]);
        (-gain.log_sigmoid(), policy.total())
    }

    fn review(&self, newest: &Newest<'_>) -> Verdict {
        review(newest, self.options.beta, false)
    }

    fn reference_bytes(&self) -> usize {
        self.reference.bytes()
    }
}
