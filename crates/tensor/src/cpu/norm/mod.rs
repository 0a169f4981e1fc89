//! Normalisation of rows: layer norm and root mean square norm.

mod backward;
#[cfg(test)]
mod tests;

use super::parallel::{Shared, for_pieces};
use crate::dtype::DType;
use crate::kernels::args::Norm;
use crate::profile::timed;
use crate::real::{Kernel, Lanes, MAX_LANES, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

pub(crate) use backward::{add_up, backward};

/// Rows that one task takes; each such piece has partial rows of its own for the weight's gradient.
const ROWS: usize = 32;

/// `[rows, width]` normalised, and for each row its mean and the reciprocal of its deviation.
///
/// All operands are contiguous; `weight` and `bias` are one row.
pub(crate) fn forward(
    norm: Norm,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> (Tensor, Tensor) {
    let (rows, width) = (x.size(0), x.size(1));
    let _timer = timed(norm.name, 0.0, (2 * x.count() * x.dtype().size()) as f64);
    let mut out = Tensor::uninit(x.shape(), x.dtype());
    let mut stats = Tensor::uninit([rows, 2].into(), DType::F64);
    with_float!(x.dtype(), norm.name, T => {
        let to = Shared::new(out.slice_mut::<T>());
        let seen = Shared::new(stats.slice_mut::<f64>());
        for_pieces(rows, ROWS, |range| {
            // SAFETY: pieces of rows are disjoint.
            let (to, stats) = unsafe {
                (to.slice(range.start * width..range.end * width), seen.slice(range.start * 2..range.end * 2))
            };
            let x = &x.slice::<T>()[range.start * width..range.end * width];
            let bias = bias.map(Tensor::slice::<T>);
            dispatch(Forward { norm, x, weight: weight.slice::<T>(), bias, to, stats });
        });
    });
    (out, stats)
}

/// A part of a row: `n` elements from `i` on.
#[derive(Clone, Copy)]
struct At {
    i: usize,
    n: usize,
}

/// Reads a whole register, or as much of it as the row has.
///
/// # Safety
/// `row` has elements up to `at.i + at.n`.
#[inline(always)]
unsafe fn read<T: Stored, S: Simd>(row: *const T, at: At) -> T::Wide<S> {
    // SAFETY: the caller's promise.
    unsafe {
        if at.n == T::Wide::<S>::LANES {
            T::load::<S>(row.add(at.i))
        } else {
            T::load_partial::<S>(row.add(at.i), at.n)
        }
    }
}

/// Writes what [`read`] reads.
///
/// # Safety
/// As [`read`], for writing.
#[inline(always)]
unsafe fn write<T: Stored, S: Simd>(value: T::Wide<S>, row: *mut T, at: At) {
    // SAFETY: the caller's promise.
    unsafe {
        if at.n == T::Wide::<S>::LANES {
            T::store::<S>(value, row.add(at.i));
        } else {
            T::store_partial::<S>(value, row.add(at.i), at.n);
        }
    }
}

/// The sum of `term` over a row, in four sums side by side.
#[inline(always)]
fn sum<L: Lanes>(width: usize, mut term: impl FnMut(At) -> L) -> f64 {
    let mut sums = [L::of(0.0); 4];
    let mut i = 0;
    while i + 4 * L::LANES <= width {
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum = *sum + term(At { i: i + k * L::LANES, n: L::LANES });
        }
        i += 4 * L::LANES;
    }
    while i < width {
        let n = L::LANES.min(width - i);
        sums[0] = sums[0] + term(At { i, n });
        i += n;
    }
    let [a, b, c, d] = sums;
    ((a + b) + (c + d)).reduce_sum().into()
}

/// `value` in the first `n` lanes, zero in the others.
#[inline(always)]
fn first_lanes<L: Lanes>(value: L, n: usize) -> L {
    if n == L::LANES {
        return value;
    }
    let mut memory = [0.0_f64; MAX_LANES];
    // SAFETY: the array is at least as large as any register.
    unsafe {
        value.store(memory.as_mut_ptr().cast());
        L::load_partial(memory.as_ptr().cast(), n)
    }
}

impl Norm {
    /// What a row is multiplied by, from its weight.
    #[inline(always)]
    fn factor<R: Real>(self, weight: R) -> R {
        if self.plus_one { weight + R::of(1.0) } else { weight }
    }
}

struct Forward<'a, T> {
    norm: Norm,
    x: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    to: &'a mut [T],
    /// Mean and reciprocal deviation of each row.
    stats: &'a mut [f64],
}

impl<T: Stored> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let width = self.weight.len();
        let share = 1.0 / width as f64;
        let weight = self.weight.as_ptr();
        for (r, stats) in self.stats.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            // SAFETY: the slices hold as many rows as there are statistics, each of `width`.
            unsafe {
                let (x, to) = (self.x.as_ptr().add(r * width), self.to.as_mut_ptr().add(r * width));
                let mean = if self.norm.centred {
                    sum(width, |at| read::<T, S>(x, at)) * share
                } else {
                    0.0
                };
                let centre = T::Wide::<S>::of(mean);
                let square = sum(width, |at| {
                    let x = read::<T, S>(x, at) - first_lanes(centre, at.n);
                    x * x
                });
                let rstd = (square * share + self.norm.eps).sqrt().recip();
                *stats = [mean, rstd];
                let rstd = T::Wide::<S>::of(rstd);
                let mut i = 0;
                while i < width {
                    let at = At { i, n: lanes.min(width - i) };
                    let xhat = (read::<T, S>(x, at) - centre) * rstd;
                    let w = self.norm.factor(read::<T, S>(weight, at));
                    let y = match self.bias {
                        Some(bias) => xhat.mul_add(w, read::<T, S>(bias.as_ptr(), at)),
                        None => xhat * w,
                    };
                    write::<T, S>(y, to, at);
                    i += lanes;
                }
            }
        }
    }
}
