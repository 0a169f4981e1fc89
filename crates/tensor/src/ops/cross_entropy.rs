//! Cross-entropy: the loss of classifiers and language models.

#[cfg(test)]
use super::{Operation, Sample};
use crate::autograd::is_recording;
use crate::dtype::DType;
use crate::kernels::args::AddedRows;
use crate::kernels::args::{Head, Rows, Terms};
use crate::kernels::cross_entropy::{head, head_bytes, losses, multiply, slopes};
use crate::kernels::index::{add_taken, take};
use crate::precision::matmul_precision;
use crate::quantized::Weight;
use crate::tensor::Tensor;

/// What [`cross_entropy`] and [`linear_cross_entropy`] add up and divide by.
///
/// The loss of one row of logits `x [vocab]` with target `t` is
///
/// ```text
/// lse - (1 - label_smoothing) x[t] - label_smoothing mean(x) + z_loss lse^2 - confidence_penalty H
/// lse = ln sum exp(x),  H = -sum p ln p,  p = softmax(x)
/// ```
///
/// and the result is the sum over rows whose target is not `ignore_index`, over the denominator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossEntropy {
    /// Rows with this target count nothing. Default -100, as in PyTorch.
    pub ignore_index: i64,
    /// The share, in `0..=1`, of the target that is spread evenly over the whole vocabulary, as in
    /// PyTorch (Szegedy et al., <https://arxiv.org/abs/1512.00567>). Default 0.
    pub label_smoothing: f64,
    /// Weight of the squared logarithm of the partition function, which keeps logits from drifting
    /// (Chowdhery et al., PaLM, <https://arxiv.org/abs/2204.02311>). Default 0.
    pub z_loss: f64,
    /// Weight of the prediction's entropy, which is rewarded: it keeps a model from being too sure
    /// (Pereyra et al., <https://arxiv.org/abs/1701.06548>). Default 0.
    pub confidence_penalty: f64,
    /// Logits become `softcap tanh(logit / softcap)` first, as in Gemma 2. Default `None`.
    pub softcap: Option<f64>,
    /// What the sum is divided by: `None`, the default, is the number of targets that are not
    /// ignored (PyTorch's `mean`), 1 gives PyTorch's `sum`. Where several batches make one step, the
    /// number of targets in all of them makes their losses add up to the mean over all.
    pub denominator: Option<f64>,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        Self {
            ignore_index: -100,
            label_smoothing: 0.0,
            z_loss: 0.0,
            confidence_penalty: 0.0,
            softcap: None,
            denominator: None,
        }
    }
}

impl CrossEntropy {
    /// The part of the denominator that `targets` are: how much a loss of theirs counts that is added to a mean over
    /// all. 1 without a denominator.
    ///
    /// ```
    /// use rappel_tensor::{CrossEntropy, Tensor};
    /// let options = CrossEntropy { denominator: Some(8.0), ..CrossEntropy::default() };
    /// assert_eq!(options.share(&Tensor::from_slice(&[3_i64, -100, 5], [3])), 0.25);
    /// ```
    pub fn share(&self, targets: &Tensor) -> f64 {
        self.denominator.map_or(1.0, |denominator| {
            let targets = targets.to_vec::<i64>();
            targets.iter().filter(|id| **id != self.ignore_index).count() as f64 / denominator
        })
    }

    pub(super) fn terms(&self) -> Terms {
        let Self { label_smoothing, z_loss, confidence_penalty, softcap, .. } = *self;
        Terms { label_smoothing, z_loss, confidence_penalty, softcap }
    }

    /// The class of each row, or `ignore_index`, in order; the rows that count; the denominator.
    #[track_caller]
    pub(super) fn read(
        &self,
        name: &str,
        targets: &Tensor,
        classes: usize,
    ) -> (Tensor, Vec<i64>, f64) {
        assert!(targets.dtype() == DType::I64, "{name}: targets are {}, not i64", targets.dtype());
        assert!(
            (0.0..=1.0).contains(&self.label_smoothing),
            "{name}: label_smoothing is {}, which is outside 0..=1",
            self.label_smoothing
        );
        let counts = |(at, &id): (usize, &i64)| {
            let valid = (0..classes as i64).contains(&id);
            assert!(
                valid || id == self.ignore_index,
                "{name}: target {id} at position {at} is not one of {classes} classes, nor \
                 ignore_index {}",
                self.ignore_index
            );
            (id != self.ignore_index).then_some(at as i64)
        };
        let targets = targets.detach().contiguous();
        let counted: Vec<i64> =
            targets.as_slice::<i64>().iter().enumerate().filter_map(counts).collect();
        let denominator = self.denominator.unwrap_or(counted.len() as f64);
        (targets, counted, denominator)
    }
}

/// The cross-entropy of logits `[.., vocab]` and targets `[..]` (`i64`), a scalar: see
/// [`CrossEntropy`]. Its type is the accumulator of the logits' type.
///
/// Where every target is ignored and no denominator is given, the result is NaN, as in PyTorch, and
/// the gradient zero.
///
/// # Panics
/// Where shapes do not meet, or a target is neither a class nor `ignore_index`.
///
/// ```
/// use rappel_tensor::{CrossEntropy, DType, Tensor, cross_entropy};
/// let logits = Tensor::zeros([2, 10], DType::F64);
/// let targets = Tensor::from_slice(&[3_i64, -100], [2]);
/// let loss = cross_entropy(&logits, &targets, &CrossEntropy::default());
/// assert!((loss.item() - 10.0_f64.ln()).abs() < 1e-12);
/// ```
#[track_caller]
#[must_use]
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, options: &CrossEntropy) -> Tensor {
    let shape = logits.shape();
    let rank = shape.rank();
    assert!(
        rank >= 1 && targets.shape() == shape.removed(rank - 1),
        "cross_entropy: targets {} are not one for each row of logits {shape}",
        targets.shape()
    );
    let (targets, _, denominator) = options.read("cross_entropy", targets, shape[rank - 1]);
    if let Some(softcap) = options.softcap {
        let plain = CrossEntropy { softcap: None, ..*options };
        return cross_entropy(&logits.softcap(softcap), &targets, &plain);
    }
    let (ignored, terms) = (options.ignore_index, options.terms());
    let values = logits.detach().contiguous();
    let asked = Rows { logits: &values, targets: &targets, ignored, terms, denominator };
    let (loss, found) = losses(&asked);
    loss.record(&[logits], move |grad, sink| {
        let asked = Rows { logits: &values, targets: &targets, ignored, terms, denominator };
        sink.add(0, || slopes(&asked, &found, &grad));
    })
}

/// [`cross_entropy`] of the logits `hidden weight^T`, which are never in memory whole.
///
/// `hidden` is `[.., width]`, `weight` `[vocab, width]`, `targets` `[..]` (`i64`). Logits are
/// computed for some rows at a time, in single precision where the operands are bfloat16. While
/// operations are recorded, gradients are computed at once, and
/// [`backward`](Tensor::backward) only hands them on: the three products of training and no
/// fourth; evaluate inside [`no_grad`](crate::no_grad). Rows that are ignored cost nothing.
///
/// # Panics
/// Where shapes or types do not meet, or a target is neither a row of `weight` nor `ignore_index`.
///
/// ```
/// use rappel_tensor::{CrossEntropy, DType, Key, Tensor, cross_entropy, linear_cross_entropy};
/// let hidden = Tensor::randn([2, 3, 4], DType::F64, Key::new(0));
/// let weight = Tensor::randn([10, 4], DType::F64, Key::new(1));
/// let targets = Tensor::from_slice(&[0_i64, 1, 2, 3, 4, 5], [2, 3]);
/// let options = CrossEntropy::default();
/// let fused = linear_cross_entropy(&hidden, &weight, &targets, &options);
/// let plain = cross_entropy(&hidden.matmul(&weight.t()), &targets, &options);
/// assert!((fused.item() - plain.item()).abs() < 1e-12);
/// ```
#[track_caller]
#[must_use]
pub fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
    options: &CrossEntropy,
) -> Tensor {
    linear_cross_entropy_of(hidden, &weight.clone().into(), targets, options)
}

/// [`linear_cross_entropy`] of a matrix however it is stored.
#[track_caller]
pub(super) fn linear_cross_entropy_of(
    hidden: &Tensor,
    weight: &Weight,
    targets: &Tensor,
    options: &CrossEntropy,
) -> Tensor {
    meets("linear_cross_entropy", hidden, weight, targets);
    let (sh, sw, dtype) = (hidden.shape(), weight.shape(), hidden.dtype());
    let (targets, kept, denominator) = options.read("linear_cross_entropy", targets, sw[0]);
    let dims = [1, targets.count(), sw[1]];
    let mut rows = hidden.detach().reshape([dims[1], dims[2]]);
    let mut targets = targets.reshape([dims[1]]);
    let kept = Tensor::from_slice(&kept, [kept.len()]);
    let whole = kept.count() == dims[1];
    if !whole {
        rows = take(&rows.contiguous(), dims, &kept).reshape([kept.count(), dims[2]]);
        targets = take(&targets, [1, dims[1], 1], &kept).reshape([kept.count()]);
    }
    let problem = Head {
        hidden: &rows,
        weight: &weight.detach(),
        targets: &targets,
        terms: options.terms(),
        precision: matmul_precision(),
        denominator,
        scales: None,
    };
    let wants = |x: &Tensor| is_recording() && x.needs_grad();
    let trained = match weight {
        Weight::Dense(weight) => Some(weight),
        Weight::Quantized(..) => None,
    };
    let found = head(&problem, wants(hidden), trained.is_some_and(wants));
    let parents: Vec<&Tensor> = std::iter::once(hidden).chain(trained).collect();
    found.loss.record(&parents, move |grad, sink| {
        if let Some(mut slopes) = found.weight {
            multiply(&mut slopes, &grad);
            if slopes.dtype() == dtype {
                sink.add(1, || slopes);
            } else {
                sink.write(1, sw, dtype, |target| target.put(&slopes));
            }
        }
        if let Some(mut slopes) = found.hidden {
            multiply(&mut slopes, &grad);
            if whole {
                sink.add(0, || slopes.reshape(sh));
            } else {
                sink.write(0, sh, dtype, |target| {
                    add_taken(AddedRows::Each(&slopes), dims, &kept, target);
                });
            }
        }
    })
}

/// Bytes that [`linear_cross_entropy`] of `rows` rows allocates at most where it is recorded: a part of
/// the logits, and the gradients of both operands, of type `dtype`.
pub fn linear_cross_entropy_bytes(rows: usize, width: usize, vocab: usize, dtype: DType) -> usize {
    head_bytes([rows, width, vocab], dtype)
}

/// Refuses what cannot be multiplied.
#[track_caller]
pub(super) fn meets(name: &str, hidden: &Tensor, weight: &Weight, targets: &Tensor) {
    let (sh, sw, dtype) = (hidden.shape(), weight.shape(), hidden.dtype());
    assert!(
        sh.rank() >= 1 && sw.rank() == 2 && sh[sh.rank() - 1] == sw[1],
        "{name}: hidden {sh} and weight {sw} are not [.., width] and [vocab, width]"
    );
    assert!(
        targets.shape() == sh.removed(sh.rank() - 1),
        "{name}: targets {} are not one for each row of hidden {sh}",
        targets.shape()
    );
    assert!(weight.dtype() == dtype, "{name}: hidden is {dtype}, weight {}", weight.dtype());
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "cross_entropy",
    samples: |draw| {
        let (b, t) = (draw.size(1, 3), draw.size(1, 4));
        let (width, vocab) = (draw.size(1, 5), draw.size(2, 7));
        let mut samples = Vec::new();
        for (what, label_smoothing, z_loss, confidence_penalty, softcap, denominator) in [
            ("plain", 0.0, 0.0, 0.0, None, None),
            ("smoothing", 0.2, 0.0, 0.0, None, None),
            ("z loss", 0.0, 0.1, 0.0, None, Some(3.0)),
            ("confidence", 0.0, 0.0, 0.3, None, None),
            ("soft cap", 0.0, 0.0, 0.0, Some(0.7), None),
            ("all", 0.1, 0.01, 0.2, Some(1.5), Some(7.0)),
        ] {
            let options = CrossEntropy {
                ignore_index: 0,
                label_smoothing,
                z_loss,
                confidence_penalty,
                softcap,
                denominator,
            };
            let mut ids = draw.indices([b * t], vocab).to_vec::<i64>();
            // Not every target is ignored.
            ids[0] = 1;
            let targets = Tensor::from_slice(&ids, [b, t]);
            let same = targets.clone();
            let inputs = vec![draw.normal([b, t, vocab])];
            samples.push(Sample::new(what, inputs, move |x| cross_entropy(&x[0], &same, &options)));
            let inputs = vec![draw.normal([b, t, width]), draw.normal([vocab, width])];
            samples.push(Sample::new(format!("linear, {what}"), inputs, move |x| {
                linear_cross_entropy(&x[0], &x[1], &targets, &options)
            }));
        }
        samples
    },
};
