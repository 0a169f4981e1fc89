//! Rows of logits: their cross-entropy with a target, and its slope.

use super::parallel::{Shared, for_pieces};
use crate::dtype::{DType, Element};
use crate::kernels::args::{Rows, Terms};
use crate::profile::timed;
use crate::real::{Kernel, Lanes, MAX_LANES, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements of a row whose exponentials are summed relative to one maximum: they stay in the
/// first-level cache between the two walks, and their sum is kept in lanes.
const BLOCK: usize = 2048;
/// Elements in one task.
const PIECE: usize = 1 << 14;

/// What walks over a row find.
#[derive(Clone, Copy, Default)]
pub(crate) struct RowStats {
    /// The logarithm of the sum of exponentials.
    lse: f64,
    sum: f64,
    /// That of the row's softmax; 0 where nobody asks.
    entropy: f64,
}

impl Terms {
    fn stats<T: Stored>(self, row: &[T]) -> RowStats {
        let stats = dispatch(Stats { row });
        if self.confidence_penalty == 0.0 {
            return stats;
        }
        RowStats { entropy: dispatch(Entropy { row, lse: stats.lse }), ..stats }
    }

    fn loss<T: Stored>(self, row: &[T], target: usize, stats: RowStats) -> f64 {
        let Self { label_smoothing: e, z_loss, .. } = self;
        let mut loss = stats.lse - (1.0 - e) * row[target].to_f64();
        // Without smoothing a logit of minus infinity, which forbids a token, costs nothing.
        if e != 0.0 {
            loss -= e * stats.sum / row.len() as f64;
        }
        loss + z_loss * stats.lse * stats.lse - self.confidence_penalty * stats.entropy
    }

    /// The slope of [`Self::loss`] times `scale`, written to `to`, which may be the row itself.
    ///
    /// # Safety
    /// `row` is valid for reads and `to` for writes of `width` elements.
    unsafe fn slope<T: Stored>(
        self,
        row: *const T,
        to: *mut T,
        width: usize,
        target: usize,
        stats: RowStats,
        scale: f64,
    ) {
        let RowStats { lse, entropy, .. } = stats;
        let factor = scale * (2.0 * self.z_loss).mul_add(lse, 1.0);
        let shift = scale * self.label_smoothing / width as f64;
        // SAFETY: the caller's promise.
        unsafe {
            let at_target = (*row.add(target)).to_f64();
            let mut factor_at_target = factor;
            if self.confidence_penalty == 0.0 {
                dispatch(Slope { row, to, width, lse, factor, shift });
            } else {
                // The slope of minus the entropy is p (ln p + entropy).
                let bend = scale * self.confidence_penalty;
                let factor = bend.mul_add(entropy, factor);
                factor_at_target = bend.mul_add((at_target - lse).max(LEAST_LN), factor);
                dispatch(BentSlope { slope: Slope { row, to, width, lse, factor, shift }, bend });
            }
            let hit = scale * (1.0 - self.label_smoothing);
            let p = (at_target - lse).exp();
            *to.add(target) = T::from_f64(factor_at_target * p - shift - hit);
        }
    }
}

impl Rows<'_> {
    fn rows<T: Stored>(&self) -> (&[T], &[i64], usize) {
        let width = self.logits.size(self.logits.rank() - 1);
        (self.logits.slice::<T>(), self.targets.slice::<i64>(), width)
    }
}

/// The sum of the losses of rows that have a target, in their order, over the denominator, a scalar
/// in the accumulator of the logits' type; and what slopes need of each row.
pub(crate) fn losses(asked: &Rows<'_>) -> (Tensor, Tensor) {
    let (count, dtype) = (asked.targets.count(), asked.logits.dtype());
    let bytes = asked.logits.count() * dtype.size();
    let _timer = timed("cross_entropy", 0.0, bytes as f64);
    let mut stats = Tensor::zeros([count, 2], DType::F64);
    let mut losses = vec![0.0; count];
    with_float!(dtype, "cross_entropy", T => {
        let (logits, targets, width) = asked.rows::<T>();
        let (results, found) = (Shared::new(&mut losses), Shared::new(stats.slice_mut::<f64>()));
        for_pieces(count, (PIECE / width).max(1), |range| {
            for i in range.filter(|&i| targets[i] != asked.ignored) {
                let (row, target) = (&logits[i * width..(i + 1) * width], targets[i] as usize);
                let stats = asked.terms.stats(row);
                // SAFETY: each row writes its own results.
                unsafe {
                    *results.at(i) = asked.terms.loss(row, target, stats);
                    found.slice(2 * i..2 * i + 2).copy_from_slice(&[stats.lse, stats.entropy]);
                }
            }
        });
    });
    let sum: f64 = losses.into_iter().sum();
    (Tensor::scalar(sum / asked.denominator, dtype.accumulator()), stats)
}

/// The slopes of the loss times `grad`, a scalar, from what [`losses`] found; zero without a target.
pub(crate) fn slopes(asked: &Rows<'_>, found: &Tensor, grad: &Tensor) -> Tensor {
    let (count, dtype) = (asked.targets.count(), asked.logits.dtype());
    let bytes = 2 * asked.logits.count() * dtype.size();
    let _timer = timed("cross_entropy", 0.0, bytes as f64);
    let scale = grad.item() / asked.denominator;
    let found = found.slice::<f64>();
    let mut out = Tensor::uninit(asked.logits.shape(), dtype);
    with_float!(dtype, "cross_entropy", T => {
        let (logits, targets, width) = asked.rows::<T>();
        let out = Shared::new(out.slice_mut::<T>());
        for_pieces(count, (PIECE / width).max(1), |range| {
            for i in range {
                let row = &logits[i * width..(i + 1) * width];
                // SAFETY: rows are disjoint, and of `width` elements.
                unsafe {
                    let to = out.slice(i * width..(i + 1) * width);
                    if targets[i] == asked.ignored {
                        to.fill(T::from_f64(0.0));
                    } else {
                        let stats = RowStats { lse: found[2 * i], sum: 0.0, entropy: found[2 * i + 1] };
                        let (row, to, target) = (row.as_ptr(), to.as_mut_ptr(), targets[i] as usize);
                        asked.terms.slope(row, to, width, target, stats, scale);
                    }
                }
            }
        });
    });
    out
}

/// What slopes are multiplied by.
#[derive(Clone, Copy)]
pub(super) enum Scale<'a> {
    /// Those of all rows.
    All(f64),
    /// Those of each row.
    Each(&'a [f64]),
}

impl Scale<'_> {
    fn of(self, row: usize) -> f64 {
        match self {
            Self::All(scale) => scale,
            Self::Each(scales) => scales[row],
        }
    }
}

/// The losses of rows that all have a target; where `scale` is given, the slopes times `scale` take the logits' place.
pub(super) fn losses_in_place<T: Stored>(
    logits: &mut [T],
    width: usize,
    targets: &[i64],
    terms: Terms,
    scale: Option<Scale<'_>>,
) -> Vec<f64> {
    let walks = if scale.is_some() { 3.0 } else { 1.0 };
    let _timer = timed("cross_entropy", 0.0, walks * size_of_val(logits) as f64);
    let mut losses = vec![0.0; targets.len()];
    let (results, rows) = (Shared::new(&mut losses), Shared::new(logits));
    for_pieces(targets.len(), (PIECE / width).max(1), |range| {
        let mut capped = Vec::new();
        for i in range {
            // SAFETY: rows and results are disjoint.
            unsafe {
                let row = rows.slice(i * width..(i + 1) * width);
                if let Some(softcap) = terms.softcap {
                    dispatch(Cap { row, softcap });
                    capped.clear();
                    capped.extend_from_slice(row);
                }
                let stats = terms.stats(&*row);
                let target = targets[i] as usize;
                *results.at(i) = terms.loss(row, target, stats);
                if let Some(scale) = scale {
                    let at = row.as_mut_ptr();
                    terms.slope(at, at, width, target, stats, scale.of(i));
                }
                if let Some(softcap) = terms.softcap.filter(|_| scale.is_some()) {
                    dispatch(CapSlope { row, capped: &capped, softcap });
                }
            }
        }
    });
    losses
}

/// Reads `n` elements: a register or its first part.
///
/// # Safety
/// There are so many.
#[inline(always)]
unsafe fn read<T: Stored, S: Simd>(from: *const T, n: usize) -> T::Wide<S> {
    let whole = n == T::Wide::<S>::LANES;
    // SAFETY: the caller's promise.
    unsafe { if whole { T::load::<S>(from) } else { T::load_partial::<S>(from, n) } }
}

/// Writes what [`read`] reads.
///
/// # Safety
/// As [`read`], for writing.
#[inline(always)]
unsafe fn write<T: Stored, S: Simd>(value: T::Wide<S>, to: *mut T, n: usize) {
    let whole = n == T::Wide::<S>::LANES;
    // SAFETY: the caller's promise.
    unsafe { if whole { T::store::<S>(value, to) } else { T::store_partial::<S>(value, to, n) } }
}

/// `row = softcap tanh(row / softcap)`.
struct Cap<'a, T> {
    row: &'a mut [T],
    softcap: f64,
}

impl<T: Stored> Kernel for Cap<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let softcap = T::Wide::<S>::of(self.softcap);
        for part in self.row.chunks_mut(T::Wide::<S>::LANES) {
            let (at, n) = (part.as_mut_ptr(), part.len());
            // SAFETY: the part has `n` elements, a register or its first part.
            unsafe { write::<T, S>((read::<T, S>(at, n) / softcap).tanh() * softcap, at, n) }
        }
    }
}

/// Turns slopes of capped logits into slopes of those that were capped.
struct CapSlope<'a, T> {
    row: &'a mut [T],
    capped: &'a [T],
    softcap: f64,
}

impl<T: Stored> Kernel for CapSlope<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (lanes, of) = (T::Wide::<S>::LANES, T::Wide::<S>::of);
        let softcap = of(self.softcap);
        for (slopes, capped) in self.row.chunks_mut(lanes).zip(self.capped.chunks(lanes)) {
            let (at, n) = (slopes.as_mut_ptr(), slopes.len());
            // SAFETY: both parts have `n` elements, a register or its first part.
            unsafe {
                let t = read::<T, S>(capped.as_ptr(), n) / softcap;
                write::<T, S>(read::<T, S>(at, n) * (-t).mul_add(t, of(1.0)), at, n);
            }
        }
    }
}

struct Stats<'a, T> {
    row: &'a [T],
}

impl<T: Stored> Kernel for Stats<'_, T> {
    type Output = RowStats;
    #[inline(always)]
    fn run<S: Simd>(self) -> RowStats {
        let (mut top, mut total, mut sum) = (f64::NEG_INFINITY, 0.0, 0.0);
        for block in self.row.chunks(BLOCK) {
            // Minus infinity beyond the end neither is the largest nor has an exponential.
            let whole = block.len() - block.len() % T::Wide::<S>::LANES;
            let mut tail = [T::from_f64(f64::NEG_INFINITY); MAX_LANES];
            tail[..block.len() - whole].copy_from_slice(&block[whole..]);
            let (block, rest) = block.split_at(whole);
            let (high, plain) = highest::<T, S>(block, &tail);
            let plain = rest.iter().fold(plain, |sum, x| sum + x.to_f64());
            sum += plain;
            if high == f64::NEG_INFINITY && !plain.is_nan() {
                continue;
            }
            if high > top {
                total *= (top - high).exp();
                top = high;
            }
            total += exponentials::<T, S>(block, &tail, top);
        }
        RowStats { lse: top + total.ln(), sum, entropy: 0.0 }
    }
}

/// The largest of whole registers and a tail, and the sum of the former.
#[inline(always)]
fn highest<T: Stored, S: Simd>(block: &[T], tail: &[T; MAX_LANES]) -> (f64, f64) {
    let lanes = T::Wide::<S>::LANES;
    let mut sums = [T::Wide::<S>::of(0.0); 4];
    let mut i = 0;
    // SAFETY: the block's length is a multiple of the lanes; the tail holds a register.
    unsafe {
        let mut tops = [T::load::<S>(tail.as_ptr()); 4];
        while i + 4 * lanes <= block.len() {
            for k in 0..4 {
                let x = T::load::<S>(block.as_ptr().add(i + k * lanes));
                tops[k] = x.max(tops[k]);
                sums[k] = sums[k] + x;
            }
            i += 4 * lanes;
        }
        while i < block.len() {
            let x = T::load::<S>(block.as_ptr().add(i));
            tops[0] = x.max(tops[0]);
            sums[0] = sums[0] + x;
            i += lanes;
        }
        let [a, b, c, d] = tops;
        let top = a.max(b).max(c.max(d)).reduce_max().into();
        let [a, b, c, d] = sums;
        (top, ((a + b) + (c + d)).reduce_sum().into())
    }
}

/// The sum of `exp(x - top)`.
#[inline(always)]
fn exponentials<T: Stored, S: Simd>(block: &[T], tail: &[T; MAX_LANES], top: f64) -> f64 {
    let lanes = T::Wide::<S>::LANES;
    let top = T::Wide::<S>::of(top);
    let mut i = 0;
    // SAFETY: the block's length is a multiple of the lanes; the tail holds a register.
    unsafe {
        let zero = T::Wide::<S>::of(0.0);
        let mut sums = [(T::load::<S>(tail.as_ptr()) - top).exp(), zero, zero, zero];
        while i + 4 * lanes <= block.len() {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = *sum + (T::load::<S>(block.as_ptr().add(i + k * lanes)) - top).exp();
            }
            i += 4 * lanes;
        }
        while i < block.len() {
            sums[0] = sums[0] + (T::load::<S>(block.as_ptr().add(i)) - top).exp();
            i += lanes;
        }
        let [a, b, c, d] = sums;
        ((a + b) + (c + d)).reduce_sum().into()
    }
}

/// Logarithms of probabilities below this have a probability of 0, and stay finite.
const LEAST_LN: f64 = -1e5;

/// `-sum p ln p` with `ln p = row - lse`.
struct Entropy<'a, T> {
    row: &'a [T],
    lse: f64,
}

impl<T: Stored> Kernel for Entropy<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let lanes = T::Wide::<S>::LANES;
        let (lse, least) = (T::Wide::<S>::of(self.lse), T::Wide::<S>::of(LEAST_LN));
        let part = |x: T::Wide<S>| {
            let ln = (x - lse).max(least);
            ln.exp() * ln
        };
        let mut total = 0.0;
        for block in self.row.chunks(BLOCK) {
            // Minus infinity beyond the end has a probability of 0.
            let whole = block.len() - block.len() % lanes;
            let mut tail = [T::from_f64(f64::NEG_INFINITY); MAX_LANES];
            tail[..block.len() - whole].copy_from_slice(&block[whole..]);
            // SAFETY: registers lie within the block; the tail holds one.
            let sum = unsafe {
                let at = |i: usize| T::load::<S>(block.as_ptr().add(i));
                let first = part(T::load::<S>(tail.as_ptr()));
                (0..whole).step_by(lanes).fold(first, |sum, i| sum + part(at(i)))
            };
            total += Into::<f64>::into(sum.reduce_sum());
        }
        -total
    }
}

/// [`Slope`] with `factor + bend max(row - lse, LEAST_LN)` for its factor.
struct BentSlope<T> {
    slope: Slope<T>,
    bend: f64,
}

impl<T: Stored> Kernel for BentSlope<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let of = T::Wide::<S>::of;
        let Slope { row, to, width, lse, factor, shift } = self.slope;
        let (lse, factor, shift) = (of(lse), of(factor), of(-shift));
        let (bend, least) = (of(self.bend), of(LEAST_LN));
        let slope = |x: T::Wide<S>| {
            let ln = (x - lse).max(least);
            ln.exp().mul_add(bend.mul_add(ln, factor), shift)
        };
        let mut i = 0;
        // SAFETY: both are valid for `width` elements, says whoever made this.
        unsafe {
            while i + lanes <= width {
                T::store::<S>(slope(T::load::<S>(row.add(i))), to.add(i));
                i += lanes;
            }
            let left = width - i;
            if left > 0 {
                let x = T::load_partial::<S>(row.add(i), left);
                T::store_partial::<S>(slope(x), to.add(i), left);
            }
        }
    }
}

/// `to = factor exp(row - lse) - shift`.
struct Slope<T> {
    row: *const T,
    to: *mut T,
    width: usize,
    lse: f64,
    factor: f64,
    shift: f64,
}

impl<T: Stored> Kernel for Slope<T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let of = T::Wide::<S>::of;
        let (lse, factor, shift) = (of(self.lse), of(self.factor), of(-self.shift));
        let (row, to) = (self.row, self.to);
        let mut i = 0;
        // SAFETY: both are valid for `width` elements, says whoever made this.
        unsafe {
            while i + lanes <= self.width {
                let p = (T::load::<S>(row.add(i)) - lse).exp();
                T::store::<S>(p.mul_add(factor, shift), to.add(i));
                i += lanes;
            }
            let left = self.width - i;
            if left > 0 {
                let p = (T::load_partial::<S>(row.add(i), left) - lse).exp();
                T::store_partial::<S>(p.mul_add(factor, shift), to.add(i), left);
            }
        }
    }
}
