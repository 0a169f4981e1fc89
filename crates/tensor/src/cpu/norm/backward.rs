//! The way back through a normalisation: all gradients from one walk over the rows.

use super::{At, ROWS, read, write};
use crate::autograd::Target;
use crate::cpu::parallel::{Shared, for_pieces};
use crate::kernels::args::Norm;
use crate::memory::bytes_of_mut;
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// The gradient of the input, if `with_input`, and partial sums of the others' in accumulators,
/// `[pieces, 2, width]`, in one walk.
pub(crate) fn backward(
    norm: Norm,
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    stats: &Tensor,
    with_input: bool,
) -> (Option<Tensor>, Tensor) {
    let (rows, width) = (x.size(0), x.size(1));
    let _timer = timed(norm.name, 0.0, (3 * x.count() * x.dtype().size()) as f64);
    let mut dx = with_input.then(|| Tensor::uninit(x.shape(), x.dtype()));
    let pieces = rows.div_ceil(ROWS);
    let row_bytes = width * x.dtype().accumulator().size();
    let acc = x.dtype().accumulator();
    let mut sums = Tensor::uninit([pieces, 2, width].into(), acc);
    let partial = with_float!(acc, norm.name, A => bytes_of_mut(sums.slice_mut::<A>()));
    let partial = Shared::new(partial);
    with_float!(x.dtype(), norm.name, T => {
        let to = dx.as_mut().map(|dx| Shared::new(dx.slice_mut::<T>()));
        for_pieces(rows, ROWS, |range| {
            let part = range.start * width..range.end * width;
            let first = range.start / ROWS * 2 * row_bytes;
            // SAFETY: pieces of rows are disjoint, and each has two partial rows of its own.
            let (dx, sums) = unsafe {
                (to.as_ref().map(|to| to.slice(part.clone())), partial.slice(first..first + 2 * row_bytes))
            };
            dispatch(Backward {
                norm,
                grad: &grad.slice::<T>()[part.clone()],
                x: &x.slice::<T>()[part.clone()],
                weight: weight.slice::<T>(),
                stats: &stats.slice::<f64>()[range.start * 2..range.end * 2],
                dx,
                sums,
            });
        });
    });
    (dx, sums)
}

struct Backward<'a, T> {
    norm: Norm,
    grad: &'a [T],
    x: &'a [T],
    weight: &'a [T],
    stats: &'a [f64],
    dx: Option<&'a mut [T]>,
    sums: &'a mut [u8],
}

/// Pointers into the rows that one step of the backward walk reads and writes.
struct Row<T> {
    grad: *const T,
    x: *const T,
    weight: *const T,
    dx: Option<*mut T>,
}

impl<T: Stored> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let width = self.weight.len();
        self.sums.fill(0);
        let sums: *mut <T::Wide<S> as Lanes>::Scalar = self.sums.as_mut_ptr().cast();
        for (r, &[mean, rstd]) in self.stats.as_chunks::<2>().0.iter().enumerate() {
            // SAFETY: the slices hold as many rows as there are statistics, each of `width`; the
            // sums hold two rows of the lanes' scalars.
            unsafe {
                let at = r * width;
                let row = Row {
                    grad: self.grad.as_ptr().add(at),
                    x: self.x.as_ptr().add(at),
                    weight: self.weight.as_ptr(),
                    dx: self.dx.as_mut().map(|dx| dx.as_mut_ptr().add(at)),
                };
                row.walk::<S>(self.norm, width, mean, rstd, sums);
            }
        }
    }
}

impl<T: Stored> Row<T> {
    /// Adds to the sums and writes the gradient of the input:
    /// `rstd (g w - mean(g w) - xhat mean(g w xhat))`, without the first mean where not centred.
    ///
    /// # Safety
    /// All rows are of `width`, and `sums` are two such rows.
    #[inline(always)]
    unsafe fn walk<S: Simd>(
        &self,
        norm: Norm,
        width: usize,
        mean: f64,
        rstd: f64,
        sums: *mut <T::Wide<S> as Lanes>::Scalar,
    ) {
        let lanes = T::Wide::<S>::LANES;
        let (centre, scale) = (T::Wide::<S>::of(mean), T::Wide::<S>::of(rstd));
        let mut whole = T::Wide::<S>::of(0.0);
        let mut aligned = T::Wide::<S>::of(0.0);
        let mut i = 0;
        // SAFETY: the caller's promise.
        unsafe {
            while i < width {
                let at = At { i, n: lanes.min(width - i) };
                let g = read::<T, S>(self.grad, at);
                let xhat = (read::<T, S>(self.x, at) - centre) * scale;
                let gw = g * norm.factor(read::<T, S>(self.weight, at));
                whole = whole + gw;
                aligned = gw.mul_add(xhat, aligned);
                let (dw, db) = (sums.add(i), sums.add(width + i));
                if at.n == lanes {
                    g.mul_add(xhat, T::Wide::<S>::load(dw)).store(dw);
                    (g + T::Wide::<S>::load(db)).store(db);
                } else {
                    let sum = T::Wide::<S>::load_partial(dw, at.n);
                    g.mul_add(xhat, sum).store_partial(dw, at.n);
                    (g + T::Wide::<S>::load_partial(db, at.n)).store_partial(db, at.n);
                }
                i += lanes;
            }
            let Some(dx) = self.dx else { return };
            let share = rstd / width as f64;
            let whole: f64 = if norm.centred { whole.reduce_sum().into() } else { 0.0 };
            let aligned: f64 = aligned.reduce_sum().into();
            let (whole, aligned) =
                (T::Wide::<S>::of(-whole * share), T::Wide::<S>::of(-aligned * share));
            let mut i = 0;
            while i < width {
                let at = At { i, n: lanes.min(width - i) };
                let xhat = (read::<T, S>(self.x, at) - centre) * scale;
                let w = norm.factor(read::<T, S>(self.weight, at));
                let gw = read::<T, S>(self.grad, at) * w;
                write::<T, S>(gw.mul_add(scale, xhat.mul_add(aligned, whole)), dx, at);
                i += lanes;
            }
        }
    }
}

/// Writes, or adds, the weight's gradient (`which` 0) or the bias's (1), from the partial sums that
/// [`backward`] left.
pub(crate) fn add_up(partial: &Tensor, which: usize, target: &mut Target<'_>) {
    let accumulate = target.accumulate;
    with_float!(target.dtype, "norm", T => {
        dispatch(Reduce { partial, which, to: target.slice::<T>(), accumulate });
    });
}

struct Reduce<'a, T> {
    partial: &'a Tensor,
    which: usize,
    to: &'a mut [T],
    accumulate: bool,
}

impl<T: Stored> Kernel for Reduce<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let (pieces, width) = (self.partial.size(0), self.partial.size(2));
        let sums: *const <T::Wide<S> as Lanes>::Scalar = self.partial.buffer.as_ptr::<u8>().cast();
        let to = self.to.as_mut_ptr();
        let mut i = 0;
        // SAFETY: the sums hold two rows of `width` for each piece, the target one.
        unsafe {
            while i < width {
                let at = At { i, n: lanes.min(width - i) };
                let mut sum = T::Wide::<S>::of(0.0);
                if self.accumulate {
                    sum = read::<T, S>(to, at);
                }
                for piece in 0..pieces {
                    let from = sums.add((2 * piece + self.which) * width + i);
                    sum = sum
                        + if at.n == lanes {
                            T::Wide::<S>::load(from)
                        } else {
                            T::Wide::<S>::load_partial(from, at.n)
                        };
                }
                write::<T, S>(sum, to, at);
                i += lanes;
            }
        }
    }
}
