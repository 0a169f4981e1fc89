//! Sums, in an order that does not depend on the number of threads.

use std::ops::Range;

use super::parallel::{Shared, for_pieces, sum_pieces};
use crate::dtype::{DType, Element};
use crate::memory::{Buffer, bytes_of_mut};
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements whose sum is kept in lanes; between such pieces sums are in double precision.
const PIECE: usize = 1 << 12;

/// Rows of a matrix that one task adds up into a partial row.
const ROWS: usize = 64;

/// The sum of squares of a contiguous tensor.
pub(crate) fn sum_of_squares(x: &Tensor) -> f64 {
    with_float!(x.dtype(), "sum of squares", T => squares(x.slice::<T>()))
}

/// The sums of squares of these parts of a buffer of `dtype`.
pub(crate) fn squares_of(buffer: &Buffer, dtype: DType, parts: &[Range<usize>]) -> Vec<f64> {
    with_float!(dtype, "norm", T => {
        let all = buffer.as_slice::<T>();
        parts.iter().map(|part| squares(&all[part.clone()])).collect()
    })
}

fn squares<T: Stored>(x: &[T]) -> f64 {
    let _timer = timed("norm", 0.0, size_of_val(x) as f64);
    sum_pieces(x.len(), PIECE * 16, |range| {
        x[range].chunks(PIECE).map(|x| dispatch(Sum { x, square: true })).sum()
    })
}

/// The sum, of a slice of any length.
fn sum<T: Stored>(x: &[T]) -> f64 {
    sum_pieces(x.len(), PIECE * 16, |range| {
        x[range].chunks(PIECE).map(|x| dispatch(Sum { x, square: false })).sum()
    })
}

struct Sum<'a, T> {
    x: &'a [T],
    square: bool,
}

impl<T: Stored> Kernel for Sum<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let lanes = T::Wide::<S>::LANES;
        let (x, n) = (self.x.as_ptr(), self.x.len());
        let zero = T::Wide::<S>::of(0.0);
        // Four sums side by side hide the latency of addition.
        let mut sums = [zero; 4];
        let mut i = 0;
        let term = |v: T::Wide<S>| if self.square { v * v } else { v };
        // SAFETY: `i` stays below the slice's length.
        unsafe {
            while i + 4 * lanes <= n {
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = *sum + term(T::load::<S>(x.add(i + k * lanes)));
                }
                i += 4 * lanes;
            }
            while i + lanes <= n {
                sums[0] = sums[0] + term(T::load::<S>(x.add(i)));
                i += lanes;
            }
            if i < n {
                sums[1] = sums[1] + term(T::load_partial::<S>(x.add(i), n - i));
            }
        }
        let [a, b, c, d] = sums;
        ((a + b) + (c + d)).reduce_sum().into()
    }
}

/// The sum of a contiguous tensor seen as `[outer, reduced, inner]`, over `reduced`.
pub(crate) fn sum_middle(x: &Tensor, outer: usize, reduced: usize, inner: usize) -> Tensor {
    let _timer = timed("sum", 0.0, ((x.count() + outer * inner) * x.dtype().size()) as f64);
    let mut out = Tensor::uninit([outer, inner].into(), x.dtype());
    let dtype = x.dtype();
    with_float!(dtype, "sum", T => {
        let (x, out) = (x.slice::<T>(), out.slice_mut::<T>());
        if inner == 1 {
            sum_rows(x, out, reduced);
        } else {
            let mut sums = Tensor::uninit([inner].into(), dtype.accumulator());
            for (o, row) in out.chunks_mut(inner).enumerate() {
                let x = &x[o * reduced * inner..(o + 1) * reduced * inner];
                columns_as(x, row, &mut sums);
            }
        }
    });
    out
}

/// `out[i] = sum of row i`, rows of `len`.
fn sum_rows<T: Stored>(x: &[T], out: &mut [T], len: usize) {
    if len == 0 {
        return out.fill(T::from_f64(0.0));
    }
    if out.len() == 1 {
        out[0] = T::from_f64(sum(x));
        return;
    }
    let shared = Shared::new(out);
    for_pieces(x.len() / len, (PIECE * 4 / len).max(1), |range| {
        for i in range {
            let row = &x[i * len..(i + 1) * len];
            let sum: f64 = row.chunks(PIECE).map(|x| dispatch(Sum { x, square: false })).sum();
            // SAFETY: each row writes its own element.
            unsafe { *shared.at(i) = T::from_f64(sum) };
        }
    });
}

/// The sum of the rows of a contiguous matrix `[rows, width]`, in the accumulator of its type.
pub(crate) fn sum_of_rows(x: &Tensor) -> Tensor {
    let (rows, width, acc) = (x.size(0), x.size(1), x.dtype().accumulator());
    let _timer = timed("sum", 0.0, (x.dtype().size() * rows * width) as f64);
    let mut out = Tensor::uninit([width].into(), acc);
    with_float!(x.dtype(), "sum", T => {
        let x = x.slice::<T>();
        if width == 1 {
            // A column of one number is a row, which registers add up faster.
            let total = sum(x);
            with_float!(acc, "sum", A => out.slice_mut::<A>()[0] = A::from_f64(total));
        } else {
            columns(x, accumulators(&mut out), width);
        }
    });
    out
}

/// [`columns`] in the type of `x`, rounded once; `sums` is memory for one row of accumulators.
fn columns_as<T: Stored>(x: &[T], out: &mut [T], sums: &mut Tensor) {
    let width = out.len();
    if sums.dtype() == T::DTYPE {
        return columns(x, bytes_of_mut(out), width);
    }
    columns(x, accumulators(sums), width);
    with_float!(sums.dtype(), "sum", A => {
        for (to, from) in out.iter_mut().zip(sums.slice::<A>()) {
            *to = T::from_f64(from.to_f64());
        }
    });
}

/// The bytes of a new tensor of accumulators.
fn accumulators(sums: &mut Tensor) -> &mut [u8] {
    with_float!(sums.dtype(), "sum", A => bytes_of_mut(sums.slice_mut::<A>()))
}

/// `out[j] = sum over i of x[i, j]`, rows of `width`; `out` is a row of accumulators.
fn columns<T: Stored>(x: &[T], out: &mut [u8], width: usize) {
    let rows = x.len() / width.max(1);
    let parts = rows.div_ceil(ROWS);
    if parts <= 1 || width * rows < PIECE {
        return dispatch(Columns { x, out, width });
    }
    let row_bytes = width * T::DTYPE.accumulator().size();
    let mut partial = Tensor::uninit([parts, width].into(), T::DTYPE.accumulator());
    let shared = Shared::new(accumulators(&mut partial));
    for_pieces(rows, ROWS, |range| {
        let part = range.start / ROWS;
        // SAFETY: each piece of rows has a partial row of its own.
        let out = unsafe { shared.slice(part * row_bytes..(part + 1) * row_bytes) };
        dispatch(Columns { x: &x[range.start * width..range.end * width], out, width });
    });
    with_float!(partial.dtype(), "sum", A => {
        dispatch(Columns { x: partial.slice::<A>(), out, width });
    });
}

struct Columns<'a, T> {
    x: &'a [T],
    /// `width` accumulators.
    out: &'a mut [u8],
    width: usize,
}

impl<T: Stored> Kernel for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let width = self.width;
        let rows = self.x.len() / width.max(1);
        let x = self.x.as_ptr();
        let out: *mut <T::Wide<S> as Lanes>::Scalar = self.out.as_mut_ptr().cast();
        let mut j = 0;
        // SAFETY: columns stay below `width`, rows below the slice's number of rows; the lanes'
        // scalars are the accumulators of `T`.
        unsafe {
            while j + lanes <= width {
                let mut sum = T::Wide::<S>::of(0.0);
                for i in 0..rows {
                    sum = sum + T::load::<S>(x.add(i * width + j));
                }
                sum.store(out.add(j));
                j += lanes;
            }
            if j < width {
                let mut sum = T::Wide::<S>::of(0.0);
                for i in 0..rows {
                    sum = sum + T::load_partial::<S>(x.add(i * width + j), width - j);
                }
                sum.store_partial(out.add(j), width - j);
            }
        }
    }
}
