//! Decompositions of matrices: the one place that knows who computes them.
//!
//! What is not finite gives what is not finite, as it would in PyTorch's arithmetic: a step shows it
//! as a loss that is none, and never hangs.

use nalgebra::{DMatrix, RealField};
use rappel_tensor::{DType, Element, Tensor};

macro_rules! by_type {
    ($matrix:expr, $function:ident) => {
        match $matrix.dtype() {
            DType::F64 => $function::<f64>(&$matrix),
            _ => $function::<f32>(&$matrix),
        }
    };
}

/// Eigenvalues of a symmetric matrix, largest first, and its eigenvectors in that order, a column
/// each.
pub(crate) fn eigh(matrix: &Tensor) -> (Vec<f64>, Tensor) {
    by_type!(matrix, eigh_of)
}

/// The orthogonal factor `[rows, min(rows, cols)]` of a matrix.
pub(crate) fn orthogonal_factor(matrix: &Tensor) -> Tensor {
    by_type!(matrix, orthogonal_factor_of)
}

/// The first `rank` singular vectors of a matrix: on the left `[rows, rank]`, on the right
/// `[rank, cols]`. Of both signs that a pair may have, that with which the largest element of the
/// right one is positive.
pub(crate) fn singular_vectors(matrix: &Tensor, rank: usize) -> (Tensor, Tensor) {
    let cut = |matrix: &Tensor, axis| {
        // A view would hold on to all of them.
        let cut = matrix.narrow(axis, 0, rank);
        by_type!(cut, owned)
    };
    let (left, right) = by_type!(matrix, singular_vectors_of);
    (cut(&left, 1), cut(&right, 0))
}

/// `vectors diag(values) vectors^T`.
pub(crate) fn compose(values: &[f64], vectors: &Tensor) -> Tensor {
    let values = Tensor::from_slice(values, values.len()).to_dtype(vectors.dtype());
    (vectors * values).matmul(&vectors.t())
}

/// The matrix in columns.
fn columns<T: Element + RealField>(matrix: &Tensor) -> DMatrix<T> {
    DMatrix::from_row_slice(matrix.size(0), matrix.size(1), &matrix.to_vec::<T>())
}

fn tensor<T: Element + RealField>(matrix: &DMatrix<T>) -> Tensor {
    let (rows, cols) = matrix.shape();
    Tensor::from_slice(matrix.as_slice(), [cols, rows]).t().contiguous()
}

fn owned<T: Element>(tensor: &Tensor) -> Tensor {
    Tensor::from_slice(&tensor.to_vec::<T>(), tensor.shape())
}

/// A matrix of NaN, where there is nothing to decompose.
fn nothing(matrix: &Tensor, rows: usize, cols: usize) -> Option<Tensor> {
    matrix.first_non_finite().map(|_| Tensor::full([rows, cols], f64::NAN, matrix.dtype()))
}

fn eigh_of<T: Element + RealField>(matrix: &Tensor) -> (Vec<f64>, Tensor) {
    let n = matrix.size(0);
    if let Some(nan) = nothing(matrix, n, n) {
        return (vec![f64::NAN; n], nan);
    }
    let found = columns::<T>(matrix).symmetric_eigen();
    let values: Vec<f64> = found.eigenvalues.iter().map(|x| Element::to_f64(*x)).collect();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
    let vectors = found.eigenvectors.select_columns(&order);
    (order.iter().map(|&i| values[i]).collect(), tensor(&vectors))
}

fn orthogonal_factor_of<T: Element + RealField>(matrix: &Tensor) -> Tensor {
    let (rows, cols) = (matrix.size(0), matrix.size(1));
    nothing(matrix, rows, rows.min(cols)).unwrap_or_else(|| tensor(&columns::<T>(matrix).qr().q()))
}

fn singular_vectors_of<T: Element + RealField>(matrix: &Tensor) -> (Tensor, Tensor) {
    let (rows, cols) = (matrix.size(0), matrix.size(1));
    let least = rows.min(cols);
    if let Some(left) = nothing(matrix, rows, least) {
        return (left, Tensor::full([least, cols], f64::NAN, matrix.dtype()));
    }
    let found = columns::<T>(matrix).svd(true, true);
    let (Some(mut left), Some(mut right)) = (found.u, found.v_t) else {
        unreachable!("both were asked for")
    };
    for k in 0..least {
        let larger = |most: T, x: &T| if x.abs() > most.abs() { *x } else { most };
        if right.row(k).iter().fold(T::zero(), larger) < T::zero() {
            left.column_mut(k).neg_mut();
            right.row_mut(k).neg_mut();
        }
    }
    (tensor(&left), tensor(&right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rappel_tensor::Key;

    fn random(rows: usize, cols: usize) -> Tensor {
        Tensor::randn([rows, cols], DType::F64, Key::new(5))
    }

    fn close(a: &Tensor, b: &Tensor) {
        let apart = (a - b).abs().max().item();
        assert!(apart < 1e-12, "{apart:e}");
    }

    fn identity(n: usize) -> Tensor {
        let values: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i % (n + 1) == 0))).collect();
        Tensor::from_slice(&values, [n, n])
    }

    #[test]
    fn factors_make_the_matrix_again() {
        let a = random(9, 6);
        let gram = a.t().matmul(&a);
        let (values, vectors) = eigh(&gram);
        assert!(values.is_sorted_by(|x, y| x >= y));
        close(&compose(&values, &vectors), &gram);
        close(&vectors.t().matmul(&vectors), &identity(6));
        let q = orthogonal_factor(&a);
        close(&q.t().matmul(&q), &identity(6));
        close(&q.matmul(&q.t().matmul(&a)), &a);
    }

    #[test]
    fn singular_vectors_span_the_largest_part() {
        for (rows, cols) in [(9, 6), (4, 7)] {
            let a = random(rows, cols);
            let least = rows.min(cols);
            let (left, right) = singular_vectors(&a, least);
            close(&left.matmul(&left.t().matmul(&a)), &a.matmul(&right.t()).matmul(&right));
            let (values, _) = eigh(&a.matmul(&a.t()));
            let (left, right) = singular_vectors(&a, 2);
            let core = left.t().matmul(&a).matmul(&right.t()).to_vec::<f64>();
            assert!((core[0] - values[0].sqrt()).abs() < 1e-12 && core[1].abs() < 1e-12);
            assert!((core[3] - values[1].sqrt()).abs() < 1e-12);
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let bad = Tensor::full([3, 3], f64::NAN, DType::F32);
        assert!(eigh(&bad).1.first_non_finite().is_some());
        assert!(orthogonal_factor(&bad).first_non_finite().is_some());
        assert!(singular_vectors(&bad, 2).0.first_non_finite().is_some());
    }
}
