//! Matrix products of tensors, by cuBLASLt.

use super::machine::{Matrix, Product, Rounding};
use super::{Gpu, copy};
use crate::autograd::Target;
use crate::dtype::DType;
use crate::kernels::args::Matrices;
use crate::precision::MatmulPrecision;
use crate::profile::timed;
use crate::tensor::Tensor;

/// An operand and its first address.
struct Operand {
    matrix: Matrix,
    address: u64,
    /// A copy, where the layout is none that cuBLASLt reads.
    _copy: Option<Tensor>,
}

fn operand(gpu: &Gpu, m: &Matrices) -> Operand {
    let rank = m.tensor.rank();
    let strides = &m.tensor.layout.strides[rank - 2..];
    let (rs, cs) = (strides[0], strides[1]);
    let dtype = m.tensor.dtype();
    let fits = |by_rows: bool| {
        let (long, many, step, leading) =
            if by_rows { (m.cols, m.rows, cs, rs) } else { (m.rows, m.cols, rs, cs) };
        let leading = if many == 1 { long } else { leading };
        ((step == 1 || long == 1) && leading >= long).then_some(Matrix {
            dtype,
            by_rows,
            leading,
            step: m.step,
        })
    };
    if let Some(matrix) = fits(true).or_else(|| fits(false)) {
        return Operand { matrix, address: m.tensor.on(gpu), _copy: None };
    }
    let copy = copy::contiguous(gpu, &m.tensor);
    let matrix = Matrix { dtype, by_rows: true, leading: m.cols, step: m.rows * m.cols };
    Operand { matrix, address: copy.on(gpu), _copy: Some(copy) }
}

/// `[batch, m, n]` products at `address`, written or added.
fn write(
    gpu: &Gpu,
    (a, b): (&Matrices, &Matrices),
    precision: MatmulPrecision,
    (address, dtype, accumulate): (u64, DType, bool),
    leading: usize,
) {
    let (m, n, k, batch) = (a.rows, b.cols, a.cols, a.batch);
    assert!(b.rows == k && b.batch == batch, "matmul: sizes");
    let size = batch as f64 * a.tensor.dtype().size() as f64;
    let (rows, cols, depth) = (m as f64, n as f64, k as f64);
    let flops = 2.0 * batch as f64 * rows * cols * depth;
    let _timer = timed("matmul", flops, size * (rows * depth + depth * cols + rows * cols));
    if m * n * batch == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            use crate::memory::DeviceMemory;
            gpu.clear(address, batch * m * n * dtype.size());
        }
        return;
    }
    let (left, right) = (operand(gpu, a), operand(gpu, b));
    let rounding = match (dtype, a.tensor.dtype(), precision) {
        (_, DType::BF16 | DType::F64, _) | (_, _, MatmulPrecision::Highest) => Rounding::None,
        (_, _, MatmulPrecision::Medium) => Rounding::Bf16,
        _ => Rounding::Tf32,
    };
    let d = Matrix { dtype, by_rows: true, leading, step: m * leading };
    let product =
        Product { m, n, k, batch, a: left.matrix, b: right.matrix, d, accumulate, rounding };
    gpu.product(&product, [left.address, right.address, address]);
}

/// A new tensor `[batch, m, n]` of the products of the matrices of `a` and `b`.
pub(crate) fn products(
    gpu: &Gpu,
    a: &Matrices,
    b: &Matrices,
    precision: MatmulPrecision,
) -> Tensor {
    let dtype = a.tensor.dtype();
    assert!(dtype.is_float(), "matmul: needs floating-point numbers, got {dtype}");
    let mut out = Tensor::uninit([a.batch, a.rows, b.cols].into(), dtype);
    let address = out.made_on(gpu);
    write(gpu, (a, b), precision, (address, dtype, false), b.cols);
    out
}

/// The products written, or added, to a gradient's memory.
pub(crate) fn products_into(
    gpu: &Gpu,
    a: &Matrices,
    b: &Matrices,
    precision: MatmulPrecision,
    target: &mut Target<'_>,
) {
    let to = (target.on(gpu), target.dtype, target.accumulate);
    write(gpu, (a, b), precision, to, b.cols);
}

/// Products written to a part of memory: for a chunk of logits and its slopes.
pub(super) fn products_at(
    gpu: &Gpu,
    a: &Matrices,
    b: &Matrices,
    precision: MatmulPrecision,
    to: (u64, DType, bool),
) {
    write(gpu, (a, b), precision, to, b.cols);
}

/// Products of one pair, whose rows begin `leading` numbers apart.
pub(super) fn products_with_rows_of(
    gpu: &Gpu,
    a: &Matrices,
    b: &Matrices,
    precision: MatmulPrecision,
    (address, dtype): (u64, DType),
    leading: usize,
) {
    write(gpu, (a, b), precision, (address, dtype, false), leading);
}

/// A new tensor `[batch, rows, rows]` of the products of each matrix with its own transpose.
pub(crate) fn grams(gpu: &Gpu, a: &Matrices, precision: MatmulPrecision) -> Tensor {
    products(gpu, a, &a.t(), precision)
}

/// `x w + bias` for matrices `x [m, k]`, `w [k, n]` and a contiguous bias `[n]`.
pub(crate) fn biased_product(
    gpu: &Gpu,
    x: &Matrices,
    w: &Matrices,
    bias: &Tensor,
    precision: MatmulPrecision,
) -> Tensor {
    let product = products(gpu, x, w, precision);
    let mut out = product.reshape([x.rows, w.cols]);
    drop(product);
    copy::add_row(gpu, &mut out, bias);
    out
}
