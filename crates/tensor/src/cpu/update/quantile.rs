//! Eight-bit numbers in blocks: a code for each number, a scale for each block.
//!
//! The codes are bitsandbytes' dynamic map (Dettmers et al., 2021, <https://arxiv.org/abs/2110.02861>):
//! seven decades below 1, each cut evenly into twice as many parts as the one below it, whose middles
//! are the values; beside them 0 and 1. Within a decade value and rank are linear in each other, so
//! both ways are one line whose two numbers are looked up by the decade, in tables of eight that fit a
//! register; the decade is read from the exponent.

use crate::random::hash;
use crate::real::{Lanes, Lanes32, Real, Simd, Stored};

/// Numbers that share a scale, their largest magnitude.
pub const BLOCK: usize = 256;

const DECADES: usize = 7;

/// A number for each decade, and for what is below.
type Table = [f32; DECADES + 1];

/// 2^23: added to a whole number below, it leaves that number in the last bits. That is how codes become
/// single-precision numbers and come back, a register at a time; a cast would go one by one.
const WHOLE: f32 = 8_388_608.0;

/// What the last bit of an exponent stands for among the bits of a number.
const LAST_PLACE: f64 = 1.0 / 8_388_608.0;

/// Added to a decade, it leaves the last three bits, and nothing negative.
const AROUND: f64 = 8.0;

/// Numbers below are in no decade; their logarithm would leave the tables.
const LEAST: f64 = 3.2e-8;

/// The values that codes stand for, and the way back.
pub struct Codes {
    /// Of each decade, counted from 1, and 0 of what is below them all. The value of rank `k` is
    /// `step k + base`.
    step: Table,
    base: Table,
    /// The rank of the part that `x` lies in is `slope x + shift`, rounded, at most `last`.
    slope: Table,
    shift: Table,
    last: Table,
    /// Numbers above the `d`-th belong to decade `d + 1`, or to one above it.
    from: Table,
    /// The decade of rank `k` is the exponent of `grow k + 1`.
    grow: f32,
    /// The code of 0: ranks of negative numbers lie below, of positive ones above.
    zero: f32,
    /// Numbers above are 1.
    one_from: f32,
    /// The rank of 1.
    one: f32,
    /// In the order of the codes.
    values: [f32; 256],
}

static SIGNED: Codes = Codes::new(true);
static UNSIGNED: Codes = Codes::new(false);

impl Codes {
    /// The map for numbers of either sign, or for those from zero.
    pub fn of(signed: bool) -> &'static Self {
        if signed { &SIGNED } else { &UNSIGNED }
    }

    const fn new(signed: bool) -> Self {
        let [mut steps, mut bases, mut slopes, mut shifts, mut lasts] = [[0.0; DECADES + 1]; 5];
        let mut froms = [f32::INFINITY; DECADES + 1];
        let zero = if signed { 127 } else { 0 };
        let mut values = [0.0; 256];
        let (mut rank, mut before) = (1, 0.0);
        let mut top = 1e-6;
        let mut d = 0;
        while d < DECADES {
            let parts = if signed { 1 << d } else { 2 << d };
            let start = rank as f64;
            let step = 0.9 * top / parts as f64;
            let base = top * 0.1 + step / 2.0 - start * step;
            froms[d] = f64::midpoint(before, step * start + base) as f32;
            (steps[d + 1], bases[d + 1]) = (step as f32, base as f32);
            (slopes[d + 1], shifts[d + 1]) =
                ((1.0 / step) as f32, (start - 0.1 * top / step - 0.5) as f32);
            lasts[d + 1] = (rank + parts - 1) as f32;
            let mut part = 0;
            while part < parts {
                before = step * rank as f64 + base;
                values[zero + rank] = before as f32;
                if signed {
                    values[zero - rank] = -(before as f32);
                }
                rank += 1;
                part += 1;
            }
            top *= 10.0;
            d += 1;
        }
        values[255] = 1.0;
        let one_from = f64::midpoint(before, 1.0) as f32;
        Self {
            step: steps,
            base: bases,
            slope: slopes,
            shift: shifts,
            last: lasts,
            from: froms,
            // Decades begin at the ranks 2^d, or 2^(d + 1) - 1.
            grow: if signed { 2.0 } else { 1.0 },
            zero: zero as f32,
            one_from,
            one: rank as f32,
            values,
        }
    }

    /// The value of rank `k`, from 0.
    #[inline(always)]
    fn value<L: Lanes32>(&self, k: L) -> L {
        let at = k.mul_add(L::of(self.grow.into()), L::of(1.0)).bits();
        // Rounded down: a whole exponent lies just above the half.
        let decade = at.mul_add(L::of(LAST_PLACE), L::of(AROUND - 127.5 + 1.0 / 1024.0))
            + L::of(WHOLE.into());
        let value = k.mul_add(decade.lookup(&self.step), decade.lookup(&self.base));
        L::select(k.lt(L::of(self.one.into())), value, L::of(1.0))
    }

    /// The rank of the value nearest to `x`, which lies in 0 to 1.
    #[inline(always)]
    fn rank<L: Lanes32>(&self, x: L) -> L {
        // The logarithm to base 10, too small by 0.026 at most, lifted so that rounding gives the
        // decade or the one above it: decades begin at 1 to 2.75 times a power of ten.
        let log = x.max(L::of(LEAST)).bits();
        let line = L::of(LAST_PLACE * std::f64::consts::LOG10_2);
        let above = log.mul_add(line, L::of(AROUND + 7.05 - 127.0 * std::f64::consts::LOG10_2))
            + L::of(WHOLE.into());
        let is_there = above.lookup(&self.from).lt(x);
        let decade = above + L::select(is_there, L::of(1.0), L::of(0.0));
        // The last part of a decade reaches beyond it, to where the next decade's first is nearer.
        let rank = x.mul_add(decade.lookup(&self.slope), decade.lookup(&self.shift)).round();
        let rank = rank.min(decade.lookup(&self.last));
        L::select(L::of(self.one_from.into()).lt(x), L::of(self.one.into()), rank)
    }

    /// Reads a block.
    #[inline(always)]
    pub fn decode<S: Simd>(&self, codes: &[u8], scale: f32, to: &mut [f32]) {
        let zero = S::F32::of(f64::from(self.zero) + f64::from(WHOLE));
        let scale = S::F32::of(scale.into());
        let mut wide = [0.0; BLOCK];
        for (wide, code) in wide.iter_mut().zip(codes) {
            *wide = f32::from_bits(WHOLE.to_bits() | u32::from(*code));
        }
        for i in (0..codes.len()).step_by(S::F32::LANES) {
            // SAFETY: the array holds a whole number of registers.
            unsafe {
                let k = <f32 as Stored>::load::<S>(wide.as_ptr().add(i)) - zero;
                let value = self.value(k.abs()) * scale;
                let value = S::F32::select(k.lt(S::F32::of(0.0)), -value, value);
                <f32 as Stored>::store::<S>(value, wide.as_mut_ptr().add(i));
            }
        }
        to.copy_from_slice(&wide[..to.len()]);
    }

    /// Writes a block and returns its scale. With `seeds`, numbers round to either neighbour, by a
    /// hash of their position, which counts from `start`.
    #[inline(always)]
    pub fn encode<S: Simd>(
        &self,
        from: &[f32],
        codes: &mut [u8],
        seeds: Option<[u32; 2]>,
        start: usize,
    ) -> f32 {
        let mut wide = [0.0; BLOCK];
        wide[..from.len()].copy_from_slice(from);
        let mut most = S::F32::of(0.0);
        let whole = (0..from.len()).step_by(S::F32::LANES);
        for i in whole.clone() {
            // SAFETY: the array holds a whole number of registers.
            most = unsafe { <f32 as Stored>::load::<S>(wide.as_ptr().add(i)) }.abs().max(most);
        }
        let scale = most.reduce_max();
        let inverse = scale.recip();
        if !inverse.is_finite() {
            // All zero, or too small to divide by.
            codes.fill(self.zero as u8);
            return 0.0;
        }
        let zero = S::F32::of(f64::from(self.zero) + f64::from(WHOLE));
        let inverse = S::F32::of(inverse.into());
        for i in whole {
            // SAFETY: as above.
            unsafe {
                let x = <f32 as Stored>::load::<S>(wide.as_ptr().add(i)) * inverse;
                let rank = self.rank(x.abs());
                // Minus one has no code; where no number is negative, none is below 0.
                let below = -rank.min(S::F32::of(self.zero.into()));
                let code = S::F32::select(x.lt(S::F32::of(0.0)), below, rank) + zero;
                <f32 as Stored>::store::<S>(code, wide.as_mut_ptr().add(i));
            }
        }
        for (code, wide) in codes.iter_mut().zip(&wide) {
            *code = wide.to_bits() as u8;
        }
        if let Some(seeds) = seeds {
            for (i, (code, x)) in codes.iter_mut().zip(from).enumerate() {
                *code = self.either(*code, x / scale, hash((start + i) as u32, seeds));
            }
        }
        scale
    }

    /// The nearest code or the one on the other side of `x`, the nearer one likelier in proportion:
    /// right on average.
    #[inline(always)]
    fn either(&self, nearest: u8, x: f32, bits: u32) -> u8 {
        let value = self.values[usize::from(nearest)];
        let other = if value <= x { nearest.saturating_add(1) } else { nearest.saturating_sub(1) };
        let gap = self.values[usize::from(other)] - value;
        let share = if gap == 0.0 { 0.0 } else { (x - value) / gap };
        if (bits >> 8) as f32 * (1.0 / 16_777_216.0) < share { other } else { nearest }
    }

    /// The code of 0.
    pub fn zero(&self) -> u8 {
        self.zero as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;
    use crate::real::{Kernel, Level, dispatch, dispatch_at};

    struct Encode<'a>(&'a Codes, &'a [f32], Option<[u32; 2]>);
    impl Kernel for Encode<'_> {
        type Output = (Vec<u8>, f32, Vec<f32>);
        fn run<S: Simd>(self) -> Self::Output {
            let mut codes = vec![0; self.1.len()];
            let scale = self.0.encode::<S>(self.1, &mut codes, self.2, 0);
            let mut back = vec![0.0; codes.len()];
            self.0.decode::<S>(&codes, scale, &mut back);
            (codes, scale, back)
        }
    }

    #[test]
    fn codes_are_the_nearest_values() {
        for signed in [true, false] {
            let codes = Codes::of(signed);
            assert!(codes.values.is_sorted(), "{:?}", codes.values);
            let low = if signed { -1.0 } else { 0.0 };
            for i in 0..4000 {
                let mut block = [1.0; 250];
                for (j, x) in block.iter_mut().enumerate().skip(1) {
                    let unit = (i * 250 + j) as f32 / 1e6;
                    *x = (low + (1.0 - low) * unit) * [1.0, 1e-2, 1e-4, 1e-6][j % 4];
                }
                let (found, scale, back) = dispatch(Encode(codes, &block, None));
                assert!((scale - 1.0).abs() < 1e-6);
                for ((x, code), back) in block.iter().zip(found).zip(back) {
                    let value = codes.values[usize::from(code)];
                    let best = codes.values.iter().map(|v| (v - x).abs()).fold(1.0, f32::min);
                    assert!((value - x).abs() <= best * 1.0001 + 1e-9, "{x}: {value}");
                    assert!((back - value).abs() <= value.abs() * 1e-5, "{value}: {back}");
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_codes() {
        let mut x = [0.0_f32; BLOCK];
        Key::new(1).fill_normal(&mut x, 0.0, 1.0);
        for signed in [true, false] {
            let encode = Encode(Codes::of(signed), &x, None);
            let plain = dispatch_at(Level::Plain, Encode(Codes::of(signed), &x, None));
            assert!(dispatch(encode) == plain);
        }
    }

    #[test]
    fn rounding_to_either_neighbour_is_right_on_average() {
        let mut block = [0.7312_f32; BLOCK];
        block[0] = 1.0;
        let mut sum = 0.0;
        for seed in 0..200 {
            let seeds = Some(Key::new(seed).seeds());
            let (_, _, back) = dispatch(Encode(Codes::of(true), &block, seeds));
            sum += back[1..].iter().map(|v| f64::from(*v)).sum::<f64>();
        }
        let mean = sum / (200.0 * (BLOCK - 1) as f64);
        assert!((mean - 0.7312).abs() < 2e-4, "{mean}");
    }
}
