//! Layer normalisation.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Norm;
use crate::kernels::norm::{add_up, backward, forward};
use crate::tensor::Tensor;

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, over the last dimension.
///
/// Mean and variance (divided by the width, not by one less) are those of each row of `x`, of
/// shape `[.., width]`; `weight` and `bias` are `[width]`. `eps` is added to the variance; 1e-5 is
/// customary. Gradients flow to all three; nothing but two numbers per row is kept for them.
///
/// Ba, Kiros and Hinton, <https://arxiv.org/abs/1607.06450>; PyTorch's `layer_norm`.
///
/// # Panics
/// Where sizes or types do not meet, or rows are empty.
///
/// ```
/// use rappel_tensor::{DType, Tensor, layer_norm};
/// let x = Tensor::from_slice(&[1.0_f32, 3.0], [1, 2]);
/// let weight = Tensor::ones([2], DType::F32);
/// assert_eq!(layer_norm(&x, &weight, None, 0.0).to_vec::<f32>(), [-1.0, 1.0]);
/// ```
#[track_caller]
#[must_use]
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Tensor {
    normalise(Norm { name: "layer_norm", centred: true, eps, plus_one: false }, x, weight, bias)
}

/// The rows of `x` normalised, scaled and shifted.
#[track_caller]
pub(super) fn normalise(norm: Norm, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let (shape, dtype, name) = (x.shape(), x.dtype(), norm.name);
    let width = shape.last().copied().unwrap_or(0);
    assert!(
        width > 0 && *weight.shape() == [width] && bias.is_none_or(|b| *b.shape() == [width]),
        "{name}: input {shape}, weight {} and bias {:?} do not meet",
        weight.shape(),
        bias.map(Tensor::shape)
    );
    assert!(
        weight.dtype() == dtype && bias.is_none_or(|b| b.dtype() == dtype),
        "{name}: input is {dtype}, weight {}, bias {:?}",
        weight.dtype(),
        bias.map(Tensor::dtype)
    );
    let rows = shape.count() / width;
    let input = x.detach().contiguous().reshape([rows, width]);
    let scale = weight.detach().contiguous();
    let shift = bias.map(|b| b.detach().contiguous());
    let (out, stats) = forward(norm, &input, &scale, shift.as_ref());
    let parents: &[&Tensor] = match bias {
        Some(bias) => &[x, weight, bias],
        None => &[x, weight],
    };
    let biased = bias.is_some();
    out.reshape(shape).record(parents, move |grad, sink| {
        let grad = grad.contiguous();
        let (dx, partial) = backward(norm, &grad, &input, &scale, &stats, sink.needs(0));
        if let Some(dx) = dx {
            sink.add(0, || dx.reshape(shape));
        }
        sink.write(1, width.into(), dtype, |target| add_up(&partial, 0, target));
        if biased {
            sink.write(2, width.into(), dtype, |target| add_up(&partial, 1, target));
        }
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "layer_norm",
    samples: |draw| {
        let (b, t, n) = (draw.size(1, 3), draw.size(1, 40), draw.size(2, 19));
        let x = [b, t, n];
        let all = vec![draw.normal(x), draw.normal([n]), draw.normal([n])];
        let plain = vec![draw.normal([n]), draw.normal([n])];
        vec![
            Sample::new("bias", all, |x| layer_norm(&x[0], &x[1], Some(&x[2]), 1e-2)),
            Sample::new("one row", plain, |x| layer_norm(&x[0], &x[1], None, 1e-2)),
        ]
    },
};
