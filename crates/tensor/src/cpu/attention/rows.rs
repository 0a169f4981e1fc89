//! What happens to rows of scores, on lanes.

use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};

/// A block of scores in scratch memory, one row per query.
///
/// Row `r` sees its first `visible + r` columns, at most `width`.
pub(super) struct Block<A> {
    pub start: *mut A,
    /// From a row to the next: room for whole registers beyond `width`.
    pub stride: usize,
    pub rows: usize,
    pub width: usize,
    pub visible: isize,
}

impl<A: Stored> Block<A> {
    /// The stride of rows of `width`: whole registers, and not a power of two, so that rows do not
    /// compete for the same cache sets.
    pub fn stride(width: usize) -> usize {
        width.next_multiple_of(16) + 16
    }

    #[inline(always)]
    pub fn row(&self, r: usize) -> *mut A {
        self.start.wrapping_add(r * self.stride)
    }

    #[inline(always)]
    fn seen(&self, r: usize) -> usize {
        (self.visible + r as isize).clamp(0, self.width as isize) as usize
    }

    /// Fills a row's part with a constant.
    ///
    /// # Safety
    /// The row has room up to `to`.
    #[inline(always)]
    unsafe fn fill(&self, r: usize, from: usize, to: usize, value: f64) {
        for i in from..to {
            // SAFETY: the caller's promise.
            unsafe { *self.row(r).add(i) = A::from_f64(value) };
        }
    }
}

/// Running maximum and sum of exponentials of each query.
pub(super) struct Running<'a> {
    pub max: &'a mut [f64],
    pub sum: &'a mut [f64],
}

/// Turns scores into exponentials relative to the running maximum, and hidden ones into zeros.
///
/// Where the maximum of earlier blocks grows, `sums` (rows of `dim`: values added up so far) shrink
/// accordingly; `first` says that there were none.
///
/// # Safety
/// The block and `sums` hold as many rows as `running`.
pub(super) unsafe fn exponentials<A: Stored>(
    block: &Block<A>,
    running: Running<'_>,
    sums: *mut A,
    dim: usize,
    first: bool,
) {
    dispatch(Exponentials { block, running, sums, dim, first });
}

struct Exponentials<'a, A> {
    block: &'a Block<A>,
    running: Running<'a>,
    sums: *mut A,
    dim: usize,
    first: bool,
}

impl<A: Stored> Kernel for Exponentials<'_, A> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = A::Wide::<S>::LANES;
        for r in 0..self.block.rows {
            let seen = self.block.seen(r);
            let whole = seen.next_multiple_of(lanes);
            let row = self.block.row(r);
            let before = if self.first { f64::NEG_INFINITY } else { self.running.max[r] };
            // SAFETY: rows have room for whole registers.
            unsafe {
                self.block.fill(r, seen, whole, f64::NEG_INFINITY);
                let mut max = A::Wide::<S>::of(before);
                for i in (0..whole).step_by(lanes) {
                    max = A::load::<S>(row.add(i)).max(max);
                }
                let max: f64 = max.reduce_max().into();
                // A query that has seen no key keeps minus infinity; its exponentials are zeros.
                let shift = if max == f64::NEG_INFINITY { 0.0 } else { max };
                let wide = A::Wide::<S>::of(shift);
                let mut sum = A::Wide::<S>::of(0.0);
                for i in (0..whole).step_by(lanes) {
                    let e = (A::load::<S>(row.add(i)) - wide).exp();
                    A::store::<S>(e, row.add(i));
                    sum = sum + e;
                }
                self.block.fill(r, whole, self.block.width, 0.0);
                let sum: f64 = sum.reduce_sum().into();
                self.running.max[r] = max;
                if self.first {
                    self.running.sum[r] = sum;
                    continue;
                }
                let shrink = (before - shift).exp();
                self.running.sum[r] = self.running.sum[r].mul_add(shrink, sum);
                if shrink != 1.0 {
                    let shrink = A::from_f64(shrink).to_f64();
                    for i in 0..self.dim {
                        let x = self.sums.add(r * self.dim + i);
                        *x = A::from_f64((*x).to_f64() * shrink);
                    }
                }
            }
        }
    }
}

/// Turns scores into `softcap tanh(score / softcap)`.
///
/// # Safety
/// The block holds its rows.
pub(super) unsafe fn cap<A: Stored>(block: &Block<A>, softcap: f64) {
    dispatch(Cap { block, softcap });
}

struct Cap<'a, A> {
    block: &'a Block<A>,
    softcap: f64,
}

impl<A: Stored> Kernel for Cap<'_, A> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let softcap = A::Wide::<S>::of(self.softcap);
        for r in 0..self.block.rows {
            let row = self.block.row(r);
            for i in (0..self.block.seen(r)).step_by(A::Wide::<S>::LANES) {
                // SAFETY: rows have room for whole registers.
                unsafe {
                    let x = (A::load::<S>(row.add(i)) / softcap).tanh() * softcap;
                    A::store::<S>(x, row.add(i));
                }
            }
        }
    }
}

/// Turns scores, capped where there is a cap, into probabilities `p = exp(score - lse)` and their
/// gradients `dp` into the gradients of scores `p (dp - delta)`; zeros where a key is hidden.
///
/// # Safety
/// Both blocks hold rows for each `lse` and `delta`, and have the same places.
pub(super) unsafe fn slopes<A: Stored>(
    scores: &Block<A>,
    grads: &Block<A>,
    lse: &[f64],
    delta: &[f64],
    softcap: Option<f64>,
) {
    dispatch(Slopes { scores, grads, lse, delta, softcap });
}

struct Slopes<'a, A> {
    scores: &'a Block<A>,
    grads: &'a Block<A>,
    lse: &'a [f64],
    delta: &'a [f64],
    softcap: Option<f64>,
}

impl<A: Stored> Kernel for Slopes<'_, A> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = A::Wide::<S>::LANES;
        let softcap = self.softcap.map(A::Wide::<S>::of);
        for r in 0..self.scores.rows {
            let seen = self.scores.seen(r);
            let whole = seen.next_multiple_of(lanes);
            let (scores, grads) = (self.scores.row(r), self.grads.row(r));
            let lse = A::Wide::<S>::of(self.lse[r]);
            let delta = A::Wide::<S>::of(self.delta[r]);
            // SAFETY: rows have room for whole registers.
            unsafe {
                self.scores.fill(r, seen, whole, f64::NEG_INFINITY);
                for i in (0..whole).step_by(lanes) {
                    let score = A::load::<S>(scores.add(i));
                    let p = (score - lse).exp();
                    let mut slope = p * (A::load::<S>(grads.add(i)) - delta);
                    if let Some(softcap) = softcap {
                        // A hidden score is minus infinity, and its slope stays 0.
                        let t = score.max(-softcap) / softcap;
                        slope = slope * (-t).mul_add(t, A::Wide::<S>::of(1.0));
                    }
                    A::store::<S>(p, scores.add(i));
                    A::store::<S>(slope, grads.add(i));
                }
                self.scores.fill(r, whole, self.scores.width, 0.0);
                self.grads.fill(r, whole, self.grads.width, 0.0);
            }
        }
    }
}

/// Writes `factor[r] * sums[r]` to rows `stride` apart, rounded to their type.
///
/// # Safety
/// `sums` holds rows of `dim` of the sums of `T`, `to` as many rows.
pub(super) unsafe fn scaled<T: Stored>(
    sums: *const u8,
    factors: &[f64],
    dim: usize,
    to: *mut T,
    stride: usize,
) {
    dispatch(Scaled { sums, factors, dim, to, stride });
}

struct Scaled<'a, T> {
    sums: *const u8,
    factors: &'a [f64],
    dim: usize,
    to: *mut T,
    stride: usize,
}

impl<T: Stored> Kernel for Scaled<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let sums: *const <T::Wide<S> as Lanes>::Scalar = self.sums.cast();
        for (r, &factor) in self.factors.iter().enumerate() {
            let factor = T::Wide::<S>::of(factor);
            // SAFETY: the caller of `scaled` vouches for the rows.
            unsafe {
                let (from, to) = (sums.add(r * self.dim), self.to.add(r * self.stride));
                let mut i = 0;
                while i + lanes <= self.dim {
                    T::store::<S>(T::Wide::<S>::load(from.add(i)) * factor, to.add(i));
                    i += lanes;
                }
                if i < self.dim {
                    let n = self.dim - i;
                    let x = T::Wide::<S>::load_partial(from.add(i), n) * factor;
                    T::store_partial::<S>(x, to.add(i), n);
                }
            }
        }
    }
}

/// `out[r] = sum(a[r] * b[r])` for rows of `dim`, `stride` apart.
///
/// # Safety
/// Both hold as many rows as `out`.
pub(super) unsafe fn dots<T: Stored>(
    a: *const T,
    b: *const T,
    stride: usize,
    dim: usize,
    out: &mut [f64],
) {
    dispatch(Dots { a, b, stride, dim, out });
}

struct Dots<'a, T> {
    a: *const T,
    b: *const T,
    stride: usize,
    dim: usize,
    out: &'a mut [f64],
}

impl<T: Stored> Kernel for Dots<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        for (r, out) in self.out.iter_mut().enumerate() {
            let mut sum = T::Wide::<S>::of(0.0);
            // SAFETY: the caller of `dots` vouches for the rows.
            unsafe {
                let (a, b) = (self.a.add(r * self.stride), self.b.add(r * self.stride));
                let mut i = 0;
                while i + lanes <= self.dim {
                    sum = T::load::<S>(a.add(i)).mul_add(T::load::<S>(b.add(i)), sum);
                    i += lanes;
                }
                if i < self.dim {
                    let n = self.dim - i;
                    let (a, b) =
                        (T::load_partial::<S>(a.add(i), n), T::load_partial::<S>(b.add(i), n));
                    sum = a.mul_add(b, sum);
                }
            }
            *out = sum.reduce_sum().into();
        }
    }
}
