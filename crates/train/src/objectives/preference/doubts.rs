//! Signs that pairs teach a policy nothing, or too much.

use std::f64::consts::LN_2;

use super::figures::{CHOSEN, REJECTED};
use crate::review::{Newest, Verdict};

/// Steps after which a policy should no longer be its reference.
const STEPS: usize = 10;
/// Steps after which a loss should no longer be that of a policy which is its reference, and how near that counts.
const PATIENCE: usize = 50;
const NEAR: f64 = 1e-3;
/// `ln(policy / reference)` of an answer that is far from everything a reference would say.
const FAR: f64 = 500.0;

/// Judges a run that compares a policy with a reference, whose rewards are `beta` times the logarithm of their ratio.
/// `from_ln_2`: its loss begins at `ln 2`.
pub(super) fn review(newest: &Newest<'_>, beta: f64, from_ln_2: bool) -> Verdict {
    let rewards = |count| {
        let both = newest.figure(CHOSEN, count).zip(newest.figure(REJECTED, count));
        both.map(|(chosen, rejected)| [chosen, rejected].concat())
    };
    let are_zero = |rewards: &Vec<f64>| rewards.iter().all(|reward| *reward == 0.0);
    let is_reference = |count| rewards(count).is_some_and(|rewards| are_zero(&rewards));
    if newest.grad_norm == 0.0 && is_reference(1) {
        return Verdict::Hopeless(
            "no parameter has a gradient, and the policy is its reference: it would stay that for ever; an adapter needs a \
             lora_alpha above 0, and a policy that compares itself with a reference a loss.beta above 0"
                .to_owned(),
        );
    }
    if newest.step == STEPS as u64 && is_reference(STEPS) {
        return Verdict::Doubt(format!(
            "after {STEPS} steps the policy still is its reference, to the last bit: every reward is 0; steps may be too small \
             for the numbers that they change: raise optimizer.lr, shorten the warm-up, or train an adapter or single \
             precision where parameters are bfloat16"
        ));
    }
    let recent: Vec<f64> = newest.losses.iter().rev().take(PATIENCE).copied().collect();
    let mean = recent.iter().sum::<f64>() / recent.len() as f64;
    if from_ln_2 && newest.step == PATIENCE as u64 && (mean - LN_2).abs() < NEAR {
        return Verdict::Doubt(format!(
            "after {PATIENCE} steps the loss is still {mean:.4}, near the ln 2 = {LN_2:.4} of a policy that is its reference; \
             optimizer.lr is probably too low (adapters take 10 to 100 times that of whole models), or chosen and rejected \
             answers are alike"
        ));
    }
    let far = |rewards: &[f64]| rewards.iter().fold(0.0, |far: f64, r| far.max(r.abs() / beta));
    if let Some([chosen, before, rejected, before_that]) =
        rewards(2).and_then(|values| <[f64; 4]>::try_from(values).ok())
        && far(&[chosen, rejected]) > FAR
        && far(&[before, before_that]) <= FAR
    {
        return Verdict::Doubt(format!(
            "the policy is far from its reference: ln(policy / reference) of an answer is {:.0} on average; lower optimizer.lr, \
             raise loss.beta, or clip gradients by train.max_grad_norm",
            far(&[chosen, rejected])
        ));
    }
    Verdict::Fine
}
