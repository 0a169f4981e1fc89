//! Normalisation of whole planes: what batch and group normalisation compute of `[planes, numbers]`.

use super::parallel::{Shared, for_pieces};
use crate::dtype::DType;
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements that are worth a task.
const TASK: usize = 1 << 13;
/// Sums side by side, which hides the latency of addition.
const SUMS: usize = 4;

/// Calls `whole(first element, which sum)` for whole registers, `part` for what is left.
#[inline(always)]
fn walk<T: Stored, S: Simd>(
    n: usize,
    mut whole: impl FnMut(usize, usize),
    part: impl FnOnce(usize, usize),
) {
    let lanes = T::Wide::<S>::LANES;
    let mut i = 0;
    while i + SUMS * lanes <= n {
        for k in 0..SUMS {
            whole(i + k * lanes, k);
        }
        i += SUMS * lanes;
    }
    while i + lanes <= n {
        whole(i, 0);
        i += lanes;
    }
    if i < n {
        part(i, n - i);
    }
}

#[inline(always)]
fn total<L: Lanes>([a, b, c, d]: [L; SUMS]) -> f64 {
    ((a + b) + (c + d)).reduce_sum().into()
}

/// The mean of each row of `[planes, numbers]`, contiguous, and the sum of squares around it:
/// `[planes, 2]` in double precision.
pub(crate) fn moments(x: &Tensor) -> Tensor {
    let (planes, numbers) = (x.size(0), x.size(1));
    let _timer = timed("norm", 0.0, (x.count() * x.dtype().size()) as f64);
    let mut out = Tensor::uninit([planes, 2].into(), DType::F64);
    let to = Shared::new(out.slice_mut::<f64>());
    with_float!(x.dtype(), "norm", T => for_pieces(planes, (TASK / numbers).max(1), |range| {
        let x = &x.slice::<T>()[range.start * numbers..range.end * numbers];
        // SAFETY: planes are disjoint.
        let to = unsafe { to.slice(range.start * 2..range.end * 2) };
        dispatch(Moments { x, numbers, to });
    }));
    out
}

struct Moments<'a, T> {
    x: &'a [T],
    numbers: usize,
    to: &'a mut [f64],
}

impl<T: Stored> Kernel for Moments<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let n = self.numbers;
        for (x, to) in self.x.chunks_exact(n).zip(self.to.as_chunks_mut::<2>().0) {
            let x = x.as_ptr();
            let zero = T::Wide::<S>::of(0.0);
            let mut sums = [zero; SUMS];
            let mut rest = 0.0;
            // SAFETY: `walk` stays within the row.
            unsafe {
                walk::<T, S>(
                    n,
                    |i, k| sums[k] = sums[k] + T::load::<S>(x.add(i)),
                    |i, n| rest = (0..n).map(|j| (*x.add(i + j)).to_f64()).sum(),
                );
                let mean = (total(sums) + rest) / n as f64;
                let centre = T::Wide::<S>::of(mean);
                sums = [zero; SUMS];
                rest = 0.0;
                walk::<T, S>(
                    n,
                    |i, k| {
                        let x = T::load::<S>(x.add(i)) - centre;
                        sums[k] = x.mul_add(x, sums[k]);
                    },
                    |i, n| {
                        rest = (0..n).map(|j| ((*x.add(i + j)).to_f64() - mean).powi(2)).sum();
                    },
                );
                *to = [mean, total(sums) + rest];
            }
        }
    }
}

/// `(x - centre) scale + shift`, of `[planes, numbers]` with `[centre, scale, shift]` for each plane.
pub(crate) fn affine(x: &Tensor, lines: &[[f64; 3]]) -> Tensor {
    let numbers = x.size(1);
    let _timer = timed("norm", 0.0, (2 * x.count() * x.dtype().size()) as f64);
    let mut out = Tensor::uninit(x.shape(), x.dtype());
    with_float!(x.dtype(), "norm", T => {
        let to = Shared::new(out.slice_mut::<T>());
        for_pieces(lines.len(), (TASK / numbers).max(1), |range| {
            let part = range.start * numbers..range.end * numbers;
            // SAFETY: planes are disjoint.
            let to = unsafe { to.slice(part.clone()) };
            dispatch(Affine { x: &x.slice::<T>()[part], numbers, lines: &lines[range], to });
        });
    });
    out
}

struct Affine<'a, T> {
    x: &'a [T],
    numbers: usize,
    lines: &'a [[f64; 3]],
    to: &'a mut [T],
}

impl<T: Stored> Kernel for Affine<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let n = self.numbers;
        let rows = self.x.chunks_exact(n).zip(self.to.chunks_exact_mut(n));
        for ((x, to), line) in rows.zip(self.lines) {
            let (x, to) = (x.as_ptr(), to.as_mut_ptr());
            let [centre, scale, shift] = line.map(T::Wide::<S>::of);
            let line = |x: T::Wide<S>| (x - centre).mul_add(scale, shift);
            // SAFETY: `walk` stays within the row.
            unsafe {
                walk::<T, S>(
                    n,
                    |i, _| T::store::<S>(line(T::load::<S>(x.add(i))), to.add(i)),
                    |i, n| {
                        let x = T::load_partial::<S>(x.add(i), n);
                        T::store_partial::<S>(line(x), to.add(i), n);
                    },
                );
            }
        }
    }
}

/// The sum of each row of `grad` `[planes, numbers]`, and of its products with `x - centre`:
/// `[planes, 2]` in double precision.
pub(crate) fn products(grad: &Tensor, x: &Tensor, centres: &[f64]) -> Tensor {
    let (planes, numbers) = (x.size(0), x.size(1));
    let _timer = timed("norm", 0.0, (2 * x.count() * x.dtype().size()) as f64);
    let mut out = Tensor::uninit([planes, 2].into(), DType::F64);
    let to = Shared::new(out.slice_mut::<f64>());
    with_float!(x.dtype(), "norm", T => for_pieces(planes, (TASK / numbers).max(1), |range| {
        let part = range.start * numbers..range.end * numbers;
        // SAFETY: planes are disjoint.
        let to = unsafe { to.slice(range.start * 2..range.end * 2) };
        let (grad, x) = (&grad.slice::<T>()[part.clone()], &x.slice::<T>()[part]);
        dispatch(Products { grad, x, numbers, centres: &centres[range], to });
    }));
    out
}

struct Products<'a, T> {
    grad: &'a [T],
    x: &'a [T],
    numbers: usize,
    centres: &'a [f64],
    to: &'a mut [f64],
}

impl<T: Stored> Kernel for Products<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let n = self.numbers;
        let rows = self.grad.chunks_exact(n).zip(self.x.chunks_exact(n)).zip(self.centres);
        for (((grad, x), &mean), to) in rows.zip(self.to.as_chunks_mut::<2>().0) {
            let (grad, x) = (grad.as_ptr(), x.as_ptr());
            let centre = T::Wide::<S>::of(mean);
            let mut sums = [[T::Wide::<S>::of(0.0); SUMS]; 2];
            let mut rest = [0.0; 2];
            // SAFETY: `walk` stays within the rows.
            unsafe {
                walk::<T, S>(
                    n,
                    |i, k| {
                        let (grad, x) = (T::load::<S>(grad.add(i)), T::load::<S>(x.add(i)));
                        sums[0][k] = sums[0][k] + grad;
                        sums[1][k] = grad.mul_add(x - centre, sums[1][k]);
                    },
                    |i, n| {
                        for j in i..i + n {
                            let (grad, x) = ((*grad.add(j)).to_f64(), (*x.add(j)).to_f64());
                            rest[0] += grad;
                            rest[1] += grad * (x - mean);
                        }
                    },
                );
            }
            *to = [total(sums[0]) + rest[0], total(sums[1]) + rest[1]];
        }
    }
}

/// `a grad + b (x - centre) + c`, with `[a, b, centre, c]` for each plane.
pub(crate) fn combine(grad: &Tensor, x: &Tensor, factors: &[[f64; 4]]) -> Tensor {
    let numbers = x.size(1);
    let _timer = timed("norm", 0.0, (3 * x.count() * x.dtype().size()) as f64);
    let mut out = Tensor::uninit(x.shape(), x.dtype());
    with_float!(x.dtype(), "norm", T => {
        let to = Shared::new(out.slice_mut::<T>());
        for_pieces(factors.len(), (TASK / numbers).max(1), |range| {
            let part = range.start * numbers..range.end * numbers;
            // SAFETY: planes are disjoint.
            let to = unsafe { to.slice(part.clone()) };
            let (grad, x) = (&grad.slice::<T>()[part.clone()], &x.slice::<T>()[part]);
            dispatch(Combine { grad, x, numbers, factors: &factors[range], to });
        });
    });
    out
}

struct Combine<'a, T> {
    grad: &'a [T],
    x: &'a [T],
    numbers: usize,
    factors: &'a [[f64; 4]],
    to: &'a mut [T],
}

impl<T: Stored> Kernel for Combine<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let n = self.numbers;
        let rows = self.grad.chunks_exact(n).zip(self.x.chunks_exact(n));
        for (((grad, x), to), factors) in rows.zip(self.to.chunks_exact_mut(n)).zip(self.factors) {
            let (grad, x, to) = (grad.as_ptr(), x.as_ptr(), to.as_mut_ptr());
            let [a, b, centre, c] = factors.map(T::Wide::<S>::of);
            let sum = |grad: T::Wide<S>, x: T::Wide<S>| grad.mul_add(a, (x - centre).mul_add(b, c));
            // SAFETY: `walk` stays within the rows.
            unsafe {
                walk::<T, S>(
                    n,
                    |i, _| {
                        let sum = sum(T::load::<S>(grad.add(i)), T::load::<S>(x.add(i)));
                        T::store::<S>(sum, to.add(i));
                    },
                    |i, n| {
                        let grad = T::load_partial::<S>(grad.add(i), n);
                        let sum = sum(grad, T::load_partial::<S>(x.add(i), n));
                        T::store_partial::<S>(sum, to.add(i), n);
                    },
                );
            }
        }
    }
}
