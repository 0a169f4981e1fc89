//! Answers that are good or bad by themselves.

use rappel_config::{Options, Words};
use rappel_data::PreferenceBatch;
use rappel_tensor::Tensor;

use super::doubts::review;
use super::figures::{CHOSEN, LOGPS_CHOSEN, LOGPS_REJECTED, MARGINS, REJECTED};
use super::log_probs::{LogProbs, Total, frozen_sums};
use super::preferred::{Preferring, Seen};
use super::reference::{Reference, ReferenceOptions, ratios};
use crate::metrics::{less, more};
use crate::models::Pretrained;
use crate::{Metric, Newest, Verdict};

/// What an answer costs, with `h = ln(policy / reference)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub(crate) enum KtoLoss {
    /// `1 - sigmoid(beta (h - kl))` of good ones, `1 - sigmoid(beta (kl - h))` of bad ones.
    Kto,
    /// The same with a `kl` of 0.
    ApoZeroUnpaired,
}

/// The section `loss` of the task `kto`, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub(crate) struct KtoOptions {
    /// how near the policy stays to the reference
    #[option(default = 0.1, range = 0.0.., aka("pref_beta", "kto_beta", "rl_beta"))]
    pub beta: f64,
    /// the loss of an answer; kto compares it with how far answers are from the reference on average, estimated from each
    /// prompt of a forward pass with the answer of another
    #[option(default = KtoLoss::Kto, aka("pref_loss", "name", "loss"))]
    pub loss_type: KtoLoss,
    /// weight of good answers; where these are rarer, (bad / good) to 1.33 times that
    #[option(default = 1.0, range = 0.0.., aka("kto_chosen_weight", "kto_desirable_weight"))]
    pub desirable_weight: f64,
    /// weight of bad answers
    #[option(default = 1.0, range = 0.0.., aka("kto_rejected_weight", "kto_undesirable_weight"))]
    pub undesirable_weight: f64,
    /// Which model the reference is.
    #[option(flatten)]
    pub reference: ReferenceOptions,
}

/// Kahneman-Tversky optimization (Ethayarajh et al., <https://arxiv.org/abs/2402.01306>).
#[derive(Debug, Clone)]
pub(crate) struct Kto {
    pub options: KtoOptions,
    pub reference: Reference,
}

const KL: &str = "kl";

impl Kto {
    /// How far answers are from the reference on average: that of answers behind others' prompts, 0 at least.
    fn kl(&self, model: &Pretrained, batch: &PreferenceBatch, seen: &Seen<'_>) -> f64 {
        if self.options.loss_type == KtoLoss::ApoZeroUnpaired {
            return 0.0;
        }
        let (others, answers) = (&batch.mismatched, batch.lengths.len());
        let policy = frozen_sums(model, others, answers, seen.forward, None);
        let reference = self.reference.of(model, others, answers, None);
        let apart: f64 = policy.iter().zip(reference).map(|(a, b)| a - b).sum();
        (apart / answers as f64).max(0.0)
    }
}

impl Preferring for Kto {
    type Model = Pretrained;

    const METRICS: &'static [Metric] = &[
        less("loss"),
        more(MARGINS),
        more(CHOSEN),
        less(REJECTED),
        less(KL),
        more(LOGPS_CHOSEN),
        less(LOGPS_REJECTED),
    ];

    fn losses(
        &self,
        model: &Pretrained,
        batch: &PreferenceBatch,
        seen: &Seen<'_>,
    ) -> (Tensor, Total) {
        let KtoOptions { beta, desirable_weight, undesirable_weight, .. } = self.options;
        let answers = batch.lengths.len();
        let kl = self.kl(model, batch, seen);
        let policy = LogProbs::of(model, &batch.answers, answers, seen.forward);
        let sums = policy.sums(None);
        let reference = self.reference.sums(model, batch, None, seen.held_out);
        let by_label = |good: f64, bad: f64| {
            let of: Vec<f64> = batch.labels.iter().map(|is| if *is { good } else { bad }).collect();
            Tensor::from_slice(&of, [answers])
        };
        let apart = &sums - &Tensor::from_slice(&reference, [answers]);
        let gain = (apart - kl) * by_label(beta, -beta);
        let losses = (1.0 - gain.sigmoid()) * by_label(desirable_weight, undesirable_weight);
        let rewards: Vec<f64> =
            ratios(&sums, &reference).iter().map(|ratio| beta * ratio).collect();
        record(batch, &rewards, &sums.to_f64_vec(), seen);
        seen.figures.add(KL, &[kl]);
        (losses, policy.total())
    }

    fn review(&self, newest: &Newest<'_>) -> Verdict {
        review(newest, self.options.beta, false)
    }

    fn reference_bytes(&self) -> usize {
        self.reference.bytes()
    }
}

/// The values of good answers, or of bad ones.
fn of(batch: &PreferenceBatch, values: &[f64], label: bool) -> Vec<f64> {
    let chosen = values.iter().zip(&batch.labels).filter(|(_, is)| **is == label);
    chosen.map(|(value, _)| *value).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The middle between the mean rewards of good and of bad answers; one of these, where there are no others.
pub(super) fn shift(batch: &PreferenceBatch, rewards: &[f64]) -> f64 {
    let means = [true, false].into_iter().filter_map(|label| mean(&of(batch, rewards, label)));
    mean(&means.collect::<Vec<_>>()).unwrap_or(0.0)
}

/// Tells of rewards and log-probabilities of good and of bad answers, under TRL's names.
pub(super) fn record(batch: &PreferenceBatch, rewards: &[f64], log_probs: &[f64], seen: &Seen<'_>) {
    let [good, bad] = [true, false].map(|label| of(batch, rewards, label));
    seen.figures.add(CHOSEN, &good);
    seen.figures.add(REJECTED, &bad);
    seen.figures.add(LOGPS_CHOSEN, &of(batch, log_probs, true));
    seen.figures.add(LOGPS_REJECTED, &of(batch, log_probs, false));
    if let (Some(good), Some(bad)) = (mean(&good), mean(&bad)) {
        seen.figures.add(MARGINS, &[good - bad]);
    }
}
