//! Cross-entropies with what regularizes them.

use rappel_regularize::{LossTerms, symmetric_divergence};
use rappel_tensor::{CrossEntropy, Tensor, cross_entropy};

use crate::forward::Forward;
use crate::head::Head;
use crate::output::Output;

/// The cross-entropy of a classifier or a language model, with label smoothing, z-loss, confidence
/// penalty and R-Drop as `terms` say, and for mixed targets where `forward` mixes samples.
///
/// `outputs` makes `[batch, .., width]` in a pass. These are logits; or with `head` what that reads:
/// then logits are never in memory whole, but with R-Drop. `targets` (i64 `[batch, ..]`) are counted but
/// for -100; the sum is divided by `denominator`, or by their number. An output's auxiliary loss is added,
/// weighted as these targets are.
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
pub fn regularized_cross_entropy<O: Into<Output>>(
    outputs: impl Fn(&Forward) -> O,
    head: Option<&Head>,
    targets: &Tensor,
    denominator: Option<f64>,
    terms: &LossTerms,
    forward: &Forward,
) -> Tensor {
    let options = terms.cross_entropy(denominator);
    let with = |loss: Tensor, auxiliary: Option<Tensor>| match auxiliary {
        Some(auxiliary) => loss + auxiliary * options.share(targets),
        None => loss,
    };
    if terms.r_drop == 0.0 {
        let Output { hidden, auxiliary } = outputs(forward).into();
        return with(mixed(&hidden, head, targets, &options, forward), auxiliary);
    }
    let [(a, of_a), (b, of_b)] = forward.twice().map(|forward| {
        let Output { hidden, auxiliary } = outputs(&forward).into();
        (head.map_or(hidden.clone(), |head| head.logits(&hidden)), auxiliary)
    });
    let auxiliary = of_a.zip(of_b).map(|(a, b)| (a + b) * 0.5);
    let [loss_a, loss_b] = [&a, &b].map(|logits| mixed(logits, None, targets, &options, forward));
    let apart = symmetric_divergence(&a, &b, targets, &options);
    with((loss_a + loss_b) * 0.5 + apart * terms.r_drop, auxiliary)
}

/// The cross-entropy against the targets, and against those of the samples that were mixed in.
fn mixed(
    outputs: &Tensor,
    head: Option<&Head>,
    targets: &Tensor,
    options: &CrossEntropy,
    forward: &Forward,
) -> Tensor {
    let loss = |targets: &Tensor| match head {
        Some(head) => head.cross_entropy(outputs, targets, options),
        None => cross_entropy(outputs, targets, options),
    };
    let Some(mixup) = forward.noise.mixup.filter(|_| forward.train) else { return loss(targets) };
    let partners = targets.index_select(0, &mixup.partners(targets.size(0)));
    let weight = mixup.weight();
    loss(targets) * weight + loss(&partners) * (1.0 - weight)
}
