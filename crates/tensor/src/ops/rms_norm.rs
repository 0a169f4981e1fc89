//! Root mean square normalisation.

use super::layer_norm::normalise;
#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Norm;
use crate::tensor::Tensor;

/// `x / sqrt(mean(x^2) + eps) * weight`, over the last dimension.
///
/// `x` is `[.., width]`, `weight` `[width]`. `eps` is added to the mean square; Llama uses 1e-5 or
/// 1e-6. Gradients flow to both; nothing but one number per row is kept for them.
///
/// Zhang and Sennrich, <https://arxiv.org/abs/1910.07467>; PyTorch's `rms_norm`.
///
/// # Panics
/// Where sizes or types do not meet, or rows are empty.
///
/// ```
/// use rappel_tensor::{DType, Tensor, rms_norm};
/// let x = Tensor::from_slice(&[1.0_f32, 7.0], [1, 2]);
/// let weight = Tensor::full([2], 5.0, DType::F32);
/// assert_eq!(rms_norm(&x, &weight, 0.0).to_vec::<f32>(), [1.0, 7.0]);
/// ```
#[track_caller]
#[must_use]
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    let norm = Norm { name: "rms_norm", centred: false, eps, plus_one: false };
    normalise(norm, x, weight, None)
}

/// `x / sqrt(mean(x^2) + eps) * (1 + weight)`, over the last dimension: [`rms_norm`] as Gemma has it, whose weights
/// begin at 0.
///
/// # Panics
/// As [`rms_norm`].
///
/// ```
/// use rappel_tensor::{DType, Tensor, rms_norm_plus_one};
/// let x = Tensor::from_slice(&[1.0_f32, 7.0], [1, 2]);
/// let weight = Tensor::full([2], 4.0, DType::F32);
/// assert_eq!(rms_norm_plus_one(&x, &weight, 0.0).to_vec::<f32>(), [1.0, 7.0]);
/// ```
#[track_caller]
#[must_use]
pub fn rms_norm_plus_one(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    let norm = Norm { name: "rms_norm", centred: false, eps, plus_one: true };
    normalise(norm, x, weight, None)
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "rms_norm",
    samples: |draw| {
        let (b, t, n) = (draw.size(1, 3), draw.size(1, 40), draw.size(1, 19));
        let inputs = vec![draw.normal([b, t, n]), draw.normal([n])];
        vec![
            Sample::new("plain", inputs.clone(), |x| rms_norm(&x[0], &x[1], 1e-2)),
            Sample::new("plus one", inputs, |x| rms_norm_plus_one(&x[0], &x[1], 1e-2)),
        ]
    },
};
