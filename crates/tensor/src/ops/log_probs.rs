//! Log-probabilities of tokens, without their logits in memory as a whole.

use super::cross_entropy::{CrossEntropy, meets};
#[cfg(test)]
use super::{Operation, Sample};
use crate::autograd::is_recording;
use crate::kernels::args::AddedRows;
use crate::kernels::args::Head;
use crate::kernels::cross_entropy::head;
use crate::kernels::index::{add_taken, take};
use crate::precision::matmul_precision;
use crate::quantized::Weight;
use crate::tensor::Tensor;

/// `ln p(target)` of each row, where `p` is the softmax of the logits `hidden weight^T`: PyTorch's
/// `-cross_entropy(.., reduction="none")`.
///
/// `hidden` is `[.., width]`, `weight` `[vocab, width]`, `targets` `[..]` (`i64`), and so is the result, in the accumulator
/// of the type: 0 where the target is -100, which costs nothing. With `softcap`, logits become
/// `softcap tanh(logit / softcap)` first. Logits are computed for some rows at a time, and again in
/// [`backward`](Tensor::backward), where gradients differ by row: a product more than
/// [`linear_cross_entropy`](crate::linear_cross_entropy), which adds rows up.
///
/// # Panics
/// Where shapes or types do not meet, or a target is neither a row of `weight` nor -100.
///
/// ```
/// use rappel_tensor::{DType, Tensor, linear_log_probs};
/// let (hidden, weight) = (Tensor::zeros([3, 4], DType::F64), Tensor::zeros([10, 4], DType::F64));
/// let targets = Tensor::from_slice(&[3_i64, -100, 5], [3]);
/// let found = linear_log_probs(&hidden, &weight, &targets, None).to_vec::<f64>();
/// assert!((found[0] + 10.0_f64.ln()).abs() < 1e-12 && found[1] == 0.0);
/// ```
#[track_caller]
#[must_use]
pub fn linear_log_probs(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
    softcap: Option<f64>,
) -> Tensor {
    linear_log_probs_of(hidden, &weight.clone().into(), targets, softcap)
}

/// [`linear_log_probs`] of a matrix however it is stored.
#[track_caller]
pub(super) fn linear_log_probs_of(
    hidden: &Tensor,
    weight: &Weight,
    targets: &Tensor,
    softcap: Option<f64>,
) -> Tensor {
    const NAME: &str = "linear_log_probs";
    meets(NAME, hidden, weight, targets);
    let options = CrossEntropy { softcap, denominator: Some(1.0), ..CrossEntropy::default() };
    let (sh, sw, dtype) = (hidden.shape(), weight.shape(), hidden.dtype());
    let like = targets.shape();
    let (targets, kept, _) = options.read(NAME, targets, sw[0]);
    let dims = [1, targets.count(), sw[1]];
    let chosen = Tensor::from_slice(&kept, [kept.len()]);
    let all = hidden.detach().reshape([dims[1], dims[2]]).contiguous();
    let rows = take(&all, dims, &chosen).reshape([kept.len(), dims[2]]);
    let targets = take(&targets.reshape([dims[1]]), [1, dims[1], 1], &chosen).reshape([kept.len()]);
    let (weight_values, terms, precision) = (weight.detach(), options.terms(), matmul_precision());
    let problem = move |scales: Option<&Tensor>, slopes: [bool; 2]| {
        let (hidden, weight, targets) = (&rows, &weight_values, &targets);
        let asked = Head { hidden, weight, targets, terms, precision, denominator: 1.0, scales };
        head(&asked, slopes[0], slopes[1])
    };
    let mut values = vec![0.0; dims[1]];
    for (row, loss) in kept.iter().zip(problem(None, [false; 2]).rows.to_vec::<f64>()) {
        values[*row as usize] = -loss;
    }
    let found = Tensor::from_slice(&values, like).to_dtype(dtype.accumulator());
    let trained = match weight {
        Weight::Dense(weight) => Some(weight),
        Weight::Quantized(..) => None,
    };
    let wants = |x: &Tensor| is_recording() && x.needs_grad();
    let wanted = [wants(hidden), trained.is_some_and(wants)];
    let parents: Vec<&Tensor> = std::iter::once(hidden).chain(trained).collect();
    found.record(&parents, move |grad, sink| {
        let grad = grad.to_f64_vec();
        let scales: Vec<f64> = kept.iter().map(|row| -grad[*row as usize]).collect();
        let scales = Tensor::from_slice(&scales, [scales.len()]);
        let slopes = problem(Some(&scales), wanted);
        if let Some(slopes) = slopes.weight {
            if slopes.dtype() == dtype {
                sink.add(1, || slopes);
            } else {
                sink.write(1, sw, dtype, |target| target.put(&slopes));
            }
        }
        if let Some(slopes) = slopes.hidden {
            sink.write(0, sh, dtype, |target| {
                add_taken(AddedRows::Each(&slopes), dims, &chosen, target);
            });
        }
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "log_probs",
    samples: |draw| {
        let (b, t) = (draw.size(1, 3), draw.size(2, 4));
        let (width, vocab) = (draw.size(1, 5), draw.size(2, 7));
        let mut samples = Vec::new();
        for (what, softcap, ignored) in
            [("plain", None, 0), ("ignored", None, 1), ("soft cap", Some(0.7), 1)]
        {
            let mut ids = draw.indices([b * t], vocab).to_vec::<i64>();
            ids.iter_mut().take(ignored).for_each(|id| *id = -100);
            let targets = Tensor::from_slice(&ids, [b, t]);
            let weights = draw.normal([b, t]);
            let inputs = vec![draw.normal([b, t, width]), draw.normal([vocab, width])];
            samples.push(Sample::new(what, inputs, move |x| {
                linear_log_probs(&x[0], &x[1], &targets, softcap) * &weights
            }));
        }
        samples
    },
};
