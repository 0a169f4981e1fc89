//! Softmax and its kin, row by row.

use super::parallel::{Shared, for_pieces};
use crate::kernels::args::RowKind;
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements in one task.
const PIECE: usize = 1 << 14;

/// Applies `kind` to the rows of the contiguous `x` (the input, or the output for gradients) and
/// of `grad`.
pub(crate) fn rows(name: &'static str, kind: RowKind, x: &Tensor, grad: Option<&Tensor>) -> Tensor {
    let mut shape = x.shape();
    let last = shape.rank() - 1;
    let width = shape[last];
    let count = shape[..last].iter().product();
    let to_width = if kind == RowKind::LogSumExp { 1 } else { width };
    shape[last] = to_width;
    let mut out = Tensor::uninit(shape, x.dtype());
    let operands = 2 + usize::from(grad.is_some());
    let _timer = timed(name, 0.0, (operands * x.count() * x.dtype().size()) as f64);
    with_float!(x.dtype(), name, T => {
        let to = Shared::new(out.slice_mut::<T>());
        let x = x.slice::<T>();
        let grad = grad.map_or(x, Tensor::slice::<T>);
        for_pieces(count, (PIECE / width.max(1)).max(1), |range| {
            for r in range {
                let (from, at) = (r * width..(r + 1) * width, r * to_width..(r + 1) * to_width);
                // SAFETY: each row writes its own part.
                let to = unsafe { to.slice(at) };
                dispatch(Row { kind, x: &x[from.clone()], grad: &grad[from], to });
            }
        });
    });
    out
}

struct Row<'a, T> {
    kind: RowKind,
    x: &'a [T],
    grad: &'a [T],
    to: &'a mut [T],
}

impl<T: Stored> Kernel for Row<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let one = T::Wide::<S>::of(1.0);
        match self.kind {
            RowKind::Softmax => {
                let (max, sum) = self.statistics::<S>();
                let (max, scale) = (T::Wide::<S>::of(max), T::Wide::<S>::of(sum.recip()));
                self.write::<S>(|x, _| (x - max).exp() * scale);
            }
            RowKind::LogSoftmax => {
                let (max, sum) = self.statistics::<S>();
                // Apart, so that a large maximum does not swallow the logarithm's digits.
                let (max, ln) = (T::Wide::<S>::of(max), T::Wide::<S>::of(sum.ln()));
                self.write::<S>(|x, _| (x - max) - ln);
            }
            RowKind::LogSumExp => {
                let (max, sum) = self.statistics::<S>();
                self.to[0] = T::from_f64(if max.is_infinite() { max } else { max + sum.ln() });
            }
            RowKind::SoftmaxGrad => {
                let dot = T::Wide::<S>::of(self.sum::<S>(|y, g| y * g));
                self.write::<S>(|y, g| y * (g - dot));
            }
            RowKind::LogSoftmaxGrad => {
                let total = T::Wide::<S>::of(-self.sum::<S>(|_, g| g * one));
                self.write::<S>(|y, g| y.exp().mul_add(total, g));
            }
        }
    }
}

impl<T: Stored> Row<'_, T> {
    /// The largest element, and the sum of the exponentials of the distances from it.
    #[inline(always)]
    fn statistics<S: Simd>(&self) -> (f64, f64) {
        let lanes = T::Wide::<S>::LANES;
        let (from, n) = (self.x.as_ptr(), self.x.len());
        let whole = n / lanes * lanes;
        let mut max = T::Wide::<S>::of(f64::NEG_INFINITY);
        for i in (0..whole).step_by(lanes) {
            // SAFETY: `i + lanes` is at most `n`.
            max = unsafe { T::load::<S>(from.add(i)) }.max(max);
        }
        let mut largest: f64 = max.reduce_max().into();
        let mut rest = 0.0;
        for x in &self.x[whole..] {
            largest = x.to_f64().max(largest);
        }
        for x in &self.x[whole..] {
            rest += (x.to_f64() - largest).exp();
        }
        let max = T::Wide::<S>::of(largest);
        let mut sum = T::Wide::<S>::of(0.0);
        for i in (0..whole).step_by(lanes) {
            // SAFETY: `i + lanes` is at most `n`.
            sum = sum + (unsafe { T::load::<S>(from.add(i)) } - max).exp();
        }
        let sum: f64 = sum.reduce_sum().into();
        (largest, sum + rest)
    }

    /// The sum of a term that is zero where both numbers are.
    #[inline(always)]
    fn sum<S: Simd>(&self, term: impl Fn(T::Wide<S>, T::Wide<S>) -> T::Wide<S>) -> f64 {
        let lanes = T::Wide::<S>::LANES;
        let (x, g, n) = (self.x.as_ptr(), self.grad.as_ptr(), self.x.len());
        let mut sum = T::Wide::<S>::of(0.0);
        let mut i = 0;
        // SAFETY: `i` stays below the rows' length.
        unsafe {
            while i + lanes <= n {
                sum = sum + term(T::load::<S>(x.add(i)), T::load::<S>(g.add(i)));
                i += lanes;
            }
            if i < n {
                let left = n - i;
                let x = T::load_partial::<S>(x.add(i), left);
                sum = sum + term(x, T::load_partial::<S>(g.add(i), left));
            }
        }
        sum.reduce_sum().into()
    }

    /// Writes a formula of both rows.
    #[inline(always)]
    fn write<S: Simd>(self, formula: impl Fn(T::Wide<S>, T::Wide<S>) -> T::Wide<S>) {
        let lanes = T::Wide::<S>::LANES;
        let (x, g, n) = (self.x.as_ptr(), self.grad.as_ptr(), self.x.len());
        let to = self.to.as_mut_ptr();
        let mut i = 0;
        // SAFETY: `i` stays below the rows' length.
        unsafe {
            while i + lanes <= n {
                let y = formula(T::load::<S>(x.add(i)), T::load::<S>(g.add(i)));
                T::store::<S>(y, to.add(i));
                i += lanes;
            }
            if i < n {
                let left = n - i;
                let x = T::load_partial::<S>(x.add(i), left);
                let y = formula(x, T::load_partial::<S>(g.add(i), left));
                T::store_partial::<S>(y, to.add(i), left);
            }
        }
    }
}
