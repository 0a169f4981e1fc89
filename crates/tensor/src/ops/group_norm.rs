//! Group normalisation.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::planes::{affine, combine, moments, products};
use crate::tensor::Tensor;

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, mean and variance those of each group of channels of
/// each image: PyTorch's `group_norm`. `x` is `[batch, channels, ..]`, `weight` and `bias` are `[channels]`.
///
/// Wu and He, <https://arxiv.org/abs/1803.08494>.
///
/// # Panics
/// Where sizes or types do not meet, or the channels are not divisible by `groups`.
///
/// ```
/// use rappel_tensor::{DType, Tensor, group_norm};
/// let x = Tensor::from_slice(&[1.0_f32, 3.0, 10.0, 30.0], [1, 4, 1]);
/// let (weight, bias) = (Tensor::ones([4], DType::F32), Tensor::zeros([4], DType::F32));
/// assert_eq!(group_norm(&x, 2, &weight, &bias, 0.0).to_vec::<f32>(), [-1.0, 1.0, -1.0, 1.0]);
/// ```
#[track_caller]
#[must_use]
pub fn group_norm(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f64) -> Tensor {
    let (shape, dtype) = (x.shape(), x.dtype());
    let fits = shape.rank() >= 2 && shape.count() > 0 && dtype.is_float() && groups > 0;
    let row = |t: &Tensor| *t.shape() == [shape[1]] && t.dtype() == dtype;
    assert!(
        fits && shape[1].is_multiple_of(groups) && row(weight) && row(bias),
        "group_norm: input {shape} of {dtype}, {groups} groups, weight {} and bias {} do not meet",
        weight.shape(),
        bias.shape()
    );
    let (batch, channels) = (shape[0], shape[1]);
    let (wide, numbers) = (channels / groups, shape.count() / (batch * channels));
    let count = (wide * numbers) as f64;
    let whole = x.detach().contiguous();
    let found = moments(&whole.reshape([batch * groups, wide * numbers]));
    let statistics: Vec<[f64; 2]> = found.slice::<f64>().as_chunks::<2>().0.to_vec();
    let statistics: Vec<[f64; 2]> = statistics
        .into_iter()
        .map(|[mean, squares]| [mean, (squares / count + eps).sqrt().recip()])
        .collect();
    let (factors, shifts) = (weight.to_f64_vec(), bias.to_f64_vec());
    let planes = whole.reshape([batch * channels, numbers]);
    let line = |i: usize| {
        let [mean, rstd] = statistics[i / wide];
        [mean, rstd * factors[i % channels], shifts[i % channels]]
    };
    let lines: Vec<_> = (0..batch * channels).map(line).collect();
    let out = affine(&planes, &lines).reshape(shape);
    out.record(&[x, weight, bias], move |grad, sink| {
        let grad = grad.contiguous().reshape(planes.shape());
        let centres: Vec<f64> = (0..batch * channels).map(|i| statistics[i / wide][0]).collect();
        let sums = products(&grad, &planes, &centres);
        // Of each plane: the sum of gradients, and that of their products with what was normalised.
        let sums: Vec<[f64; 2]> = sums.slice::<f64>().as_chunks::<2>().0.to_vec();
        let sums: Vec<[f64; 2]> = sums
            .into_iter()
            .enumerate()
            .map(|(i, [sum, product])| [sum, product * statistics[i / wide][1]])
            .collect();
        let total = |which: usize| {
            let of = |c: usize| (0..batch).map(|n| sums[n * channels + c][which]).sum();
            let values: Vec<f64> = (0..channels).map(of).collect();
            Tensor::from_slice(&values, [channels]).to_dtype(dtype.accumulator())
        };
        sink.add(1, || total(1));
        sink.add(2, || total(0));
        sink.add(0, || {
            let in_group = |group: usize, which: usize| -> f64 {
                let planes = group * wide..(group + 1) * wide;
                planes.map(|i| sums[i][which] * factors[i % channels]).sum()
            };
            let groups = 0..batch * groups;
            let groups: Vec<[f64; 2]> =
                groups.map(|g| [in_group(g, 0) / count, in_group(g, 1) / count]).collect();
            let part = |i: usize| {
                let ([mean, rstd], [whole, aligned]) = (statistics[i / wide], groups[i / wide]);
                [rstd * factors[i % channels], -rstd * rstd * aligned, mean, -rstd * whole]
            };
            let parts: Vec<_> = (0..batch * channels).map(part).collect();
            combine(&grad, &planes, &parts).reshape(shape)
        });
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "group_norm",
    samples: |draw| {
        let (groups, wide) = (draw.size(1, 3), draw.size(1, 3));
        let c = groups * wide;
        let x = [draw.size(1, 3), c, draw.size(2, 5), draw.size(1, 20)];
        let inputs = vec![draw.normal(x), draw.normal([c]), draw.normal([c])];
        vec![Sample::new("groups", inputs, move |x| group_norm(&x[0], groups, &x[1], &x[2], 1e-2))]
    },
};
