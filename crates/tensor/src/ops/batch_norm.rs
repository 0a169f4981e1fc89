//! Batch normalisation.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::planes::{affine, combine, moments, products};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// What batch normalisation found of a batch, channel by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchMoments {
    /// Means.
    pub mean: Vec<f64>,
    /// Variances, divided by the numbers of a channel.
    pub variance: Vec<f64>,
    /// The numbers of a channel: those of a plane, times the batch.
    pub count: usize,
}

/// Sizes `[batch, channels, numbers of a plane]`.
#[track_caller]
fn sizes(
    name: &str,
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> (Shape, [usize; 3]) {
    let shape = x.shape();
    let fits = shape.rank() >= 2 && shape.count() > 0 && x.dtype().is_float();
    let row = |t: &Tensor| *t.shape() == [shape[1]] && t.dtype() == x.dtype();
    assert!(
        fits && weight.is_none_or(row) && bias.is_none_or(row),
        "{name}: input {shape} of {}, weight {:?} and bias {:?} do not meet",
        x.dtype(),
        weight.map(|t| (t.shape(), t.dtype())),
        bias.map(|t| (t.shape(), t.dtype()))
    );
    (shape, [shape[0], shape[1], shape.count() / (shape[0] * shape[1])])
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, mean and variance those of each channel of the batch:
/// PyTorch's `batch_norm` in training. `x` is `[batch, channels, ..]`, `weight` and `bias` are `[channels]`.
///
/// Gives what was found of the batch, too, for running statistics. Gradients flow through mean and variance.
/// Sums are formed plane by plane and added up in double precision.
///
/// Ioffe and Szegedy, <https://arxiv.org/abs/1502.03167>.
///
/// # Panics
/// Where sizes or types do not meet.
///
/// ```
/// use rappel_tensor::{Tensor, batch_norm_training};
/// let x = Tensor::from_slice(&[1.0_f32, 10.0, 3.0, 30.0], [2, 2]);
/// let (y, moments) = batch_norm_training(&x, None, None, 0.0);
/// assert_eq!(y.to_vec::<f32>(), [-1.0, -1.0, 1.0, 1.0]);
/// assert_eq!(moments.mean, [2.0, 20.0]);
/// ```
#[track_caller]
#[must_use]
pub fn batch_norm_training(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> (Tensor, BatchMoments) {
    let (_, [batch, channels, numbers]) = sizes("batch_norm", x, weight, bias);
    let planes = x.detach().contiguous().reshape([batch * channels, numbers]);
    let found = moments(&planes);
    let of = |n: usize, c: usize, i: usize| found.slice::<f64>()[(n * channels + c) * 2 + i];
    let mean: Vec<f64> = (0..channels)
        .map(|c| (0..batch).map(|n| of(n, c, 0)).sum::<f64>() / batch as f64)
        .collect();
    let count = batch * numbers;
    let variance = |c: usize| {
        let between = |n: usize| numbers as f64 * (of(n, c, 0) - mean[c]).powi(2);
        (0..batch).map(|n| of(n, c, 1) + between(n)).sum::<f64>() / count as f64
    };
    let variance: Vec<f64> = (0..channels).map(variance).collect();
    let moments = BatchMoments { mean, variance, count };
    (normalise(x, &moments, true, weight, bias, eps), moments)
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias` with statistics that are given, `[channels]` each:
/// PyTorch's `batch_norm` in evaluation.
///
/// # Panics
/// Where sizes or types do not meet.
///
/// ```
/// use rappel_tensor::{DType, Tensor, batch_norm};
/// let x = Tensor::from_slice(&[1.0_f32, 10.0, 3.0, 30.0], [2, 2]);
/// let mean = Tensor::from_slice(&[1.0_f32, 10.0], [2]);
/// let y = batch_norm(&x, &mean, &Tensor::full([2], 4.0, DType::F32), None, None, 0.0);
/// assert_eq!(y.to_vec::<f32>(), [0.0, 0.0, 1.0, 10.0]);
/// ```
#[track_caller]
#[must_use]
pub fn batch_norm(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Tensor {
    let (shape, [batch, channels, numbers]) = sizes("batch_norm", x, weight, bias);
    assert!(
        *mean.shape() == [channels] && *variance.shape() == [channels],
        "batch_norm: input {shape}, mean {} and variance {} do not meet",
        mean.shape(),
        variance.shape()
    );
    let (mean, variance) = (mean.to_f64_vec(), variance.to_f64_vec());
    let moments = BatchMoments { mean, variance, count: batch * numbers };
    normalise(x, &moments, false, weight, bias, eps)
}

/// Normalises by `moments`, through which gradients flow if they are `own`.
fn normalise(
    x: &Tensor,
    moments: &BatchMoments,
    own: bool,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Tensor {
    let (shape, dtype) = (x.shape(), x.dtype());
    let (batch, channels) = (shape[0], shape[1]);
    let planes =
        x.detach().contiguous().reshape([batch * channels, x.count() / (batch * channels)]);
    let factors = weight.map_or_else(|| vec![1.0; channels], Tensor::to_f64_vec);
    let shifts = bias.map_or_else(|| vec![0.0; channels], Tensor::to_f64_vec);
    let reciprocal = |variance: &f64| (variance + eps).sqrt().recip();
    let rstd: Vec<f64> = moments.variance.iter().map(reciprocal).collect();
    let (mean, count) = (moments.mean.clone(), moments.count as f64);
    let line = |i: usize| {
        let c = i % channels;
        [mean[c], rstd[c] * factors[c], shifts[c]]
    };
    let lines: Vec<_> = (0..batch * channels).map(line).collect();
    let out = affine(&planes, &lines).reshape(shape);
    let mut parents = vec![x];
    parents.extend(weight);
    parents.extend(bias);
    let at = (weight.map(|_| 1), bias.map(|_| 1 + usize::from(weight.is_some())));
    out.record(&parents, move |grad, sink| {
        let grad = grad.contiguous().reshape(planes.shape());
        let centres: Vec<f64> = (0..batch * channels).map(|i| mean[i % channels]).collect();
        let sums = products(&grad, &planes, &centres);
        let sum = |c: usize, i: usize| -> f64 {
            (0..batch).map(|n| sums.slice::<f64>()[(n * channels + c) * 2 + i]).sum()
        };
        // Of each channel: the sum of gradients, and that of their products with what was normalised.
        let totals: Vec<[f64; 2]> =
            (0..channels).map(|c| [sum(c, 0), sum(c, 1) * rstd[c]]).collect();
        let row = |i: usize| {
            let values: Vec<f64> = totals.iter().map(|totals| totals[i]).collect();
            Tensor::from_slice(&values, [channels]).to_dtype(dtype.accumulator())
        };
        if let Some(at) = at.0 {
            sink.add(at, || row(1));
        }
        if let Some(at) = at.1 {
            sink.add(at, || row(0));
        }
        sink.add(0, || {
            let part = |i: usize| {
                let c = i % channels;
                let scale = factors[c] * rstd[c];
                let [whole, aligned] = if own { totals[c] } else { [0.0; 2] };
                [scale, -scale * rstd[c] * aligned / count, mean[c], -scale * whole / count]
            };
            let parts: Vec<_> = (0..batch * channels).map(part).collect();
            combine(&grad, &planes, &parts).reshape(shape)
        });
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "batch_norm",
    samples: |draw| {
        let (n, c) = (draw.size(2, 4), draw.size(1, 3));
        let x = [n, c, draw.size(1, 5), draw.size(1, 40)];
        let rows =
            |draw: &mut super::Sampler| vec![draw.normal(x), draw.normal([c]), draw.normal([c])];
        let (mean, variance) = (draw.normal([c]), draw.uniform([c], 0.5, 2.0));
        let shift = draw.normal([c]);
        vec![
            Sample::new("training", rows(draw), |x| {
                batch_norm_training(&x[0], Some(&x[1]), Some(&x[2]), 1e-2).0
            }),
            Sample::new("bias alone", vec![draw.normal(x), draw.normal([c])], |x| {
                batch_norm_training(&x[0], None, Some(&x[1]), 1e-2).0
            }),
            Sample::new("rows", vec![draw.normal([n + 3, c])], |x| {
                batch_norm_training(&x[0], None, None, 1e-2).0
            }),
            Sample::new("running statistics", vec![draw.normal(x), draw.normal([c])], move |x| {
                batch_norm(&x[0], &mean, &variance, Some(&x[1]), Some(&shift), 1e-2)
            }),
        ]
    },
};
