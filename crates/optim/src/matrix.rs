//! Small things that rules over whole tensors are written with.

use rappel_tensor::{Tensor, stack};

/// PyTorch's `lerp` of tensors: `a + w (b - a)` where `w < 1/2`, else `b - (1 - w)(b - a)`, so that
/// a weight of 1 gives `b` itself.
pub(crate) fn lerp(a: &Tensor, b: &Tensor, w: f64) -> Tensor {
    let d = b - a;
    if w < 0.5 { a + d * w } else { b - d * (1.0 - w) }
}

/// `beta a + (1 - beta) b`.
pub(crate) fn average(a: &Tensor, b: &Tensor, beta: f64) -> Tensor {
    a * beta + b * (1.0 - beta)
}

/// The Euclidean norm of all elements.
pub(crate) fn norm(x: &Tensor) -> f64 {
    x.square().sum().item().sqrt()
}

/// The root of the mean square.
pub(crate) fn rms(x: &Tensor) -> f64 {
    norm(x) / (x.count() as f64).sqrt()
}

/// Matrices of one shape as one tensor `[batch, rows, cols]`.
pub(crate) fn batch(matrices: &[Tensor]) -> Tensor {
    match matrices {
        [one] => one.unsqueeze(0),
        many => stack(&many.iter().collect::<Vec<_>>(), 0),
    }
}

/// The matrix at `index` of a batch `[batch, rows, cols]`.
pub(crate) fn unbatch(matrices: &Tensor, index: usize) -> Tensor {
    matrices.narrow(0, index, 1).squeeze(0)
}
