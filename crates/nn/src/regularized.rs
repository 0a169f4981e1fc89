//! Cross-entropies with what regularizes them.

use rappel_regularize::{LossTerms, symmetric_divergence};
use rappel_tensor::{
    CrossEntropy, Tensor, WeightLayout, cross_entropy, linear, linear_cross_entropy,
};

use crate::forward::Forward;

/// The cross-entropy of a classifier or a language model, with label smoothing, z-loss, confidence
/// penalty and R-Drop as `terms` say, and for mixed targets where `forward` mixes samples.
///
/// `outputs` makes `[batch, .., width]` in a pass. These are logits; or with `head` `[classes, width]`
/// what that multiplies: then logits are never in memory whole, but with R-Drop. `targets` (i64
/// `[batch, ..]`) are counted but for -100; the sum is divided by `denominator`, or by their number.
///
/// ```
/// use rappel_nn::{Forward, regularized_cross_entropy};
/// use rappel_regularize::LossTerms;
/// use rappel_tensor::{DType, Key, Tensor};
/// let logits = Tensor::zeros([2, 10], DType::F64);
/// let targets = Tensor::from_slice(&[3_i64, 5], [2]);
/// let terms = LossTerms { r_drop: 1.0, ..LossTerms::default() };
/// let step = Forward::training(Key::new(0));
/// let of = |_: &Forward| logits.clone();
/// let loss = regularized_cross_entropy(of, None, &targets, None, &terms, &step);
/// assert!((loss.item() - 10_f64.ln()).abs() < 1e-12);
/// ```
#[track_caller]
pub fn regularized_cross_entropy(
    outputs: impl Fn(&Forward) -> Tensor,
    head: Option<&Tensor>,
    targets: &Tensor,
    denominator: Option<f64>,
    terms: &LossTerms,
    forward: &Forward,
) -> Tensor {
    let options = terms.cross_entropy(denominator);
    if terms.r_drop == 0.0 {
        return mixed(&outputs(forward), head, targets, &options, forward);
    }
    let [a, b] = forward.twice().map(|forward| {
        let outputs = outputs(&forward);
        head.map_or(outputs.clone(), |head| linear(&outputs, head, None, WeightLayout::OutIn))
    });
    let [loss_a, loss_b] = [&a, &b].map(|logits| mixed(logits, None, targets, &options, forward));
    let apart = symmetric_divergence(&a, &b, targets, &options);
    (loss_a + loss_b) * 0.5 + apart * terms.r_drop
}

/// The cross-entropy against the targets, and against those of the samples that were mixed in.
fn mixed(
    outputs: &Tensor,
    head: Option<&Tensor>,
    targets: &Tensor,
    options: &CrossEntropy,
    forward: &Forward,
) -> Tensor {
    let loss = |targets: &Tensor| match head {
        Some(head) => linear_cross_entropy(outputs, head, targets, options),
        None => cross_entropy(outputs, targets, options),
    };
    let Some(mixup) = forward.noise.mixup.filter(|_| forward.train) else { return loss(targets) };
    let partners = targets.index_select(0, &mixup.partners(targets.size(0)));
    let weight = mixup.weight();
    loss(targets) * weight + loss(&partners) * (1.0 - weight)
}
