//! Matrix products of tensors, on the kernel in [`gemm`](super::gemm).

use super::copy::AddAssign;
use super::gemm::{self, Epilogue, How, Operand, Output, View};
use super::parallel::{Shared, for_pieces};
use crate::autograd::Target;
use crate::dtype::{DType, Element};
use crate::kernels::args::Matrices;
use crate::precision::MatmulPrecision;
use crate::profile::{Timer, timed};
use crate::real::{Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

impl Matrices {
    pub(super) fn view<T: Element>(&self, index: usize) -> View<T> {
        let strides = &self.tensor.layout.strides[self.tensor.rank() - 2..];
        View::new(self.tensor.ptr::<T>().wrapping_add(index * self.step), strides[0], strides[1])
    }
}

/// Counts a product towards the profile.
fn count(a: &Matrices, b: &Matrices) -> Timer {
    let (m, n, k) = (a.rows as f64, b.cols as f64, a.cols as f64);
    let (batch, size) = (a.batch as f64, a.tensor.dtype().size() as f64);
    timed("matmul", 2.0 * batch * m * n * k, batch * size * (m * k + k * n + m * n))
}

/// A new tensor `[batch, m, n]` of the products of the matrices of `a` and `b`.
pub(crate) fn products(a: &Matrices, b: &Matrices, precision: MatmulPrecision) -> Tensor {
    let _timer = count(a, b);
    let mut out = Tensor::uninit([a.batch, a.rows, b.cols].into(), a.tensor.dtype());
    match a.tensor.dtype() {
        DType::F32 => write_products::<f32, f32>(a, b, out.slice_mut(), false, precision),
        DType::F64 => write_products::<f64, f64>(a, b, out.slice_mut(), false, precision),
        DType::BF16 => {
            write_products::<half::bf16, half::bf16>(a, b, out.slice_mut(), false, precision);
        }
        other => panic!("matmul: needs floating-point numbers, got {other}"),
    }
    out
}

/// The products written, or added, to a gradient's memory.
pub(crate) fn products_into(
    a: &Matrices,
    b: &Matrices,
    precision: MatmulPrecision,
    target: &mut Target<'_>,
) {
    let _timer = count(a, b);
    let add = target.accumulate;
    match (a.tensor.dtype(), target.dtype) {
        (DType::F32, DType::F32) => {
            write_products::<f32, f32>(a, b, target.slice(), add, precision);
        }
        (DType::F64, DType::F64) => {
            write_products::<f64, f64>(a, b, target.slice(), add, precision);
        }
        (DType::BF16, DType::F32) => {
            write_products::<half::bf16, f32>(a, b, target.slice(), add, precision);
        }
        (DType::BF16, DType::BF16) => {
            write_products::<half::bf16, half::bf16>(a, b, target.slice(), add, precision);
        }
        (from, to) => panic!("matmul: no product of {from} into {to}"),
    }
}

fn write_products<T, C>(
    a: &Matrices,
    b: &Matrices,
    out: &mut [C],
    accumulate: bool,
    precision: MatmulPrecision,
) where
    T: Operand + Element,
    C: Output<Acc = T::Acc>,
{
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert!(b.rows == k && b.batch == a.batch && out.len() == a.batch * m * n, "matmul: sizes");
    let to = Shared::new(out);
    let one = |i: usize, how| {
        // SAFETY: the views lie within their tensors, and each product has its own part of `out`.
        unsafe {
            let (a, b) = (a.view::<T>(i), b.view::<T>(i));
            gemm::gemm((m, n, k), one::<T>(), a, b, to.at(i * m * n), n, accumulate, None, how);
        }
    };
    // Results do not depend on the choice: either all threads share each product, or each takes
    // whole products.
    if a.batch >= 2 * rayon::current_num_threads() {
        for_pieces(a.batch, 1, |i| one(i.start, How::serial(precision)));
    } else {
        (0..a.batch).for_each(|i| one(i, How::parallel(precision)));
    }
}

/// A new tensor `[batch, rows, rows]` of the products of each matrix with its own transpose.
pub(crate) fn grams(a: &Matrices, precision: MatmulPrecision) -> Tensor {
    let (rows, cols) = (a.rows as f64, a.cols as f64);
    let (batch, size) = (a.batch as f64, a.tensor.dtype().size() as f64);
    let _timer = timed("matmul", batch * rows * rows * cols, batch * size * rows * (cols + rows));
    let mut out = Tensor::uninit([a.batch, a.rows, a.rows].into(), a.tensor.dtype());
    match a.tensor.dtype() {
        DType::F32 => write_grams::<f32>(a, out.slice_mut(), precision),
        DType::F64 => write_grams::<f64>(a, out.slice_mut(), precision),
        DType::BF16 => write_grams::<half::bf16>(a, out.slice_mut(), precision),
        other => panic!("gram: needs floating-point numbers, got {other}"),
    }
    out
}

/// Rows below the diagonal are computed, in bands down to it, and mirrored: multiplication commutes bit by
/// bit, so these are the bits of the whole product at little more than half its cost.
fn write_grams<T: Output + Element>(a: &Matrices, out: &mut [T], precision: MatmulPrecision) {
    const BAND: usize = 256;
    const MOST_BANDS: usize = 8;
    let (n, k) = (a.rows, a.cols);
    // Never of a single row, whose product would be summed in another order.
    let band = n.div_ceil((n / BAND).clamp(1, MOST_BANDS)).max(1);
    let to = Shared::new(out);
    let one = |i: usize, how| {
        let whole = a.view::<T>(i);
        let transposed = View { rs: whole.cs, cs: whole.rs, ..whole };
        for first in (0..n).step_by(band) {
            let end = n.min(first + band);
            let ptr = whole.ptr.wrapping_offset(first as isize * whole.rs);
            let rows = View { ptr, ..whole };
            // SAFETY: the views lie within their tensors, and each matrix has its own part of `out`.
            unsafe {
                let c = to.at(i * n * n + first * n);
                let size = (end - first, end, k);
                gemm::gemm(size, one::<T>(), rows, transposed, c, n, false, None, how);
            }
        }
        for_pieces(n.saturating_sub(1) / band * band, MIRROR, |range| {
            // SAFETY: tasks write disjoint rows above the diagonal's bands, and read below.
            unsafe { mirror::<T>(to.at(i * n * n), n, band, range) }
        });
    };
    if a.batch >= 2 * rayon::current_num_threads() {
        for_pieces(a.batch, 1, |i| one(i.start, How::serial(precision)));
    } else {
        (0..a.batch).for_each(|i| one(i, How::parallel(precision)));
    }
}

/// Rows, and columns, that are mirrored at a time.
const MIRROR: usize = 32;

/// Fills these rows right of their band from the columns below it.
///
/// # Safety
/// `c` holds `n` x `n`, its bands complete, and nobody else touches these rows there.
unsafe fn mirror<T: Element>(c: *mut T, n: usize, band: usize, rows: std::ops::Range<usize>) {
    for first in ((rows.start / band + 1) * band..n).step_by(MIRROR) {
        for i in rows.clone() {
            for j in first.max((i / band + 1) * band)..n.min(first + MIRROR) {
                // SAFETY: both lie within the matrix.
                unsafe { *c.add(i * n + j) = *c.add(j * n + i) }
            }
        }
    }
}

fn one<T: Operand>() -> T::Acc {
    <T::Acc as gemm::Float>::ONE
}

/// `x w + bias` for matrices `x [m, k]`, `w [k, n]`: the bias, contiguous `[n]`, is added to each part
/// of the result that is complete, while it is still in cache.
pub(crate) fn biased_product(
    x: &Matrices,
    w: &Matrices,
    bias: &Tensor,
    precision: MatmulPrecision,
) -> Tensor {
    let _timer = count(x, w);
    let mut out = Tensor::uninit([x.rows, w.cols].into(), x.tensor.dtype());
    with_float!(x.tensor.dtype(), "linear", T => {
        let bias = bias.slice::<T>();
        then::<T>(x, w, precision, out.slice_mut(), &|part: Part| add_rows::<T>(&part, bias));
    });
    out
}

/// Adds `values`, a row as wide as the whole product, to every row of a finished part.
fn add_rows<T: Stored>(part: &Part, values: &[T]) {
    let values = &values[part.cols.clone()];
    for i in part.rows.clone() {
        // SAFETY: the caller's product holds `T`, and `i` is one of its rows.
        let row = unsafe { part.row::<T>(i) };
        dispatch(AddAssign { to: row, from: values });
    }
}

/// A finished part of a product: where its memory starts, and its place in the whole.
struct Part {
    /// The first element of the whole product.
    start: *mut u8,
    /// Elements in a row of the whole.
    width: usize,
    /// The rows of this part.
    rows: std::ops::Range<usize>,
    /// The columns of this part.
    cols: std::ops::Range<usize>,
}

impl Part {
    /// The elements of row `i` that belong to this part.
    ///
    /// # Safety
    /// `T` is the type of the product, and `i` one of `rows`.
    #[allow(clippy::mut_from_ref)]
    unsafe fn row<T>(&self, i: usize) -> &mut [T] {
        // SAFETY: the part is this closure's own while it runs.
        unsafe {
            let first = self.start.cast::<T>().add(i * self.width + self.cols.start);
            std::slice::from_raw_parts_mut(first, self.cols.len())
        }
    }
}

fn then<T>(
    x: &Matrices,
    w: &Matrices,
    precision: MatmulPrecision,
    out: &mut [T],
    finish: &(impl Fn(Part) + Sync),
) where
    T: Output + Element,
{
    let (m, n, k) = (x.rows, w.cols, x.cols);
    let to = Shared::new(out);
    let epilogue: Epilogue<'_> = &|rows, cols| {
        // SAFETY: only the address is taken.
        let start = unsafe { to.at(0) }.cast();
        finish(Part { start, width: n, rows, cols });
    };
    // SAFETY: the views lie within their tensors; `out` holds `m n` elements.
    unsafe {
        let (x, w) = (x.view::<T>(0), w.view::<T>(0));
        let to = to.at(0);
        let how = How::parallel(precision);
        gemm::gemm((m, n, k), one::<T>(), x, w, to, n, false, Some(epilogue), how);
    }
}
