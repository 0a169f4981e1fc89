//! Small things that rules over whole tensors are written with.

use rappel_tensor::{DType, Tensor, stack};

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

/// The norms along `axis`, which stays with size 1.
#[cfg(feature = "decompositions")]
pub(crate) fn norms(x: &Tensor, axis: usize) -> Tensor {
    x.square().sum_axis(axis).sqrt().unsqueeze(axis)
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

/// The tensor as a matrix of rows along `axis`.
#[cfg(feature = "decompositions")]
fn rows_along(x: &Tensor, axis: usize) -> Tensor {
    let mut axes: Vec<usize> = (0..x.rank()).filter(|&other| other != axis).collect();
    axes.insert(0, axis);
    x.permute(&axes).reshape([x.size(axis), x.count() / x.size(axis)])
}

/// The products of the slices along `axis` with each other.
#[cfg(feature = "decompositions")]
pub(crate) fn gram(x: &Tensor, axis: usize) -> Tensor {
    rows_along(x, axis).gram()
}

/// The tensor multiplied by `matrix` along its first dimension, which goes to the end: once for each
/// dimension, and all stand as before. `out[.., j] = sum_i x[i, ..] matrix[i, j]`.
#[cfg(feature = "decompositions")]
pub(crate) fn turned(x: &Tensor, matrix: &Tensor) -> Tensor {
    let shape = x.shape();
    let rows = x.reshape([shape[0], x.count() / shape[0]]);
    let product = rows.t().matmul(matrix);
    product.reshape(shape.removed(0).inserted(shape.rank() - 1, matrix.size(1)))
}

/// What [`turned`] does to the order of dimensions, without a matrix.
#[cfg(feature = "decompositions")]
pub(crate) fn cycled(x: &Tensor) -> Tensor {
    let axes: Vec<usize> = (1..x.rank()).chain([0]).collect();
    x.permute(&axes).contiguous()
}

/// The identity matrix of size `n`.
pub(crate) fn identity(n: usize, dtype: DType) -> Tensor {
    let mut values = vec![0.0; n * n];
    values.iter_mut().step_by(n + 1).for_each(|diagonal| *diagonal = 1.0);
    Tensor::from_slice(&values, [n, n]).to_dtype(dtype)
}
