//! Eight-bit numbers in blocks: a code for each number, a scale for each block.
//!
//! The codes are bitsandbytes' dynamic map (Dettmers et al., 2021, <https://arxiv.org/abs/2110.02861>):
//! seven decades below 1, each cut evenly into twice as many parts as the one below it.

use std::sync::LazyLock;

use crate::random::hash;

/// Numbers that share a scale, their largest magnitude.
pub const BLOCK: usize = 256;

/// The values that codes stand for, and the way back.
pub struct Codes {
    /// In rising order.
    values: [f32; 256],
    /// Halfway between each value and the next; infinity after the last.
    middles: [f32; 256],
    /// The code of the least number whose upper 16 bits are these: no two middles share them.
    first: Vec<u8>,
    zero: u8,
}

static SIGNED: LazyLock<Codes> = LazyLock::new(|| Codes::new(true));
static UNSIGNED: LazyLock<Codes> = LazyLock::new(|| Codes::new(false));

impl Codes {
    /// The map for numbers of either sign, or for those from zero.
    pub fn of(signed: bool) -> &'static Self {
        if signed { &SIGNED } else { &UNSIGNED }
    }

    fn new(signed: bool) -> Self {
        let mut values = vec![0.0, 1.0];
        for decade in 0..7 {
            let parts = if signed { 1 << decade } else { 2 << decade };
            for part in 0..parts {
                let middle = 0.1 + 0.9 * (f64::from(part) + 0.5) / f64::from(parts);
                let value = (middle * 10_f64.powi(decade - 6)) as f32;
                values.push(value);
                values.extend(signed.then_some(-value));
            }
        }
        values.sort_by(f32::total_cmp);
        let values: [f32; 256] = values.try_into().expect("254 values, 0 and 1");
        let middle =
            |c: usize| values.get(c + 1).map_or(f32::INFINITY, |next| (values[c] + next) / 2.0);
        let middles = std::array::from_fn(middle);
        let code = |x: f32| middles.partition_point(|middle| *middle < x).min(255) as u8;
        let least = |upper: u32| {
            let negative = upper >> 15 == 1;
            f32::from_bits(if negative { upper << 16 | 0xffff } else { upper << 16 })
        };
        let first = (0..1 << 16).map(|upper| code(least(upper))).collect();
        Self { zero: code(0.0), values, middles, first }
    }

    /// The nearest code.
    #[inline(always)]
    fn nearest(&self, x: f32) -> u8 {
        let first = self.first[(x.to_bits() >> 16) as usize];
        first + u8::from(self.middles[usize::from(first)] < x)
    }

    /// The code below or above, the nearer one likelier in proportion: right on average.
    #[inline(always)]
    fn either(&self, x: f32, bits: u32) -> u8 {
        let nearest = self.nearest(x);
        let value = self.values[usize::from(nearest)];
        let other = if value <= x { nearest.saturating_add(1) } else { nearest.saturating_sub(1) };
        let gap = self.values[usize::from(other)] - value;
        let share = if gap == 0.0 { 0.0 } else { (x - value) / gap };
        if (bits >> 8) as f32 * (1.0 / 16_777_216.0) < share { other } else { nearest }
    }

    /// Reads a block.
    #[inline(always)]
    pub fn decode(&self, codes: &[u8], scale: f32, to: &mut [f32]) {
        for (to, code) in to.iter_mut().zip(codes) {
            *to = self.values[usize::from(*code)] * scale;
        }
    }

    /// Writes a block and returns its scale. With `seeds`, numbers round to either neighbour, by a
    /// hash of their position, which counts from `start`.
    #[inline(always)]
    pub fn encode(
        &self,
        from: &[f32],
        codes: &mut [u8],
        seeds: Option<[u32; 2]>,
        start: usize,
    ) -> f32 {
        let scale =
            from.iter().fold(0.0, |most: f32, x| if most < x.abs() { x.abs() } else { most });
        let inverse = scale.recip();
        if !inverse.is_finite() {
            // All zero, or too small to divide by.
            codes.fill(self.zero);
            return 0.0;
        }
        match seeds {
            None => {
                for (code, x) in codes.iter_mut().zip(from) {
                    *code = self.nearest(x * inverse);
                }
            }
            Some(seeds) => {
                for (i, (code, x)) in codes.iter_mut().zip(from).enumerate() {
                    *code = self.either(x * inverse, hash((start + i) as u32, seeds));
                }
            }
        }
        scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    #[test]
    fn codes_are_the_nearest_values() {
        for signed in [true, false] {
            let codes = Codes::of(signed);
            let low = if signed { -1.0 } else { 0.0 };
            for i in 0..=200_000 {
                let x = low + (1.0 - low) * i as f32 / 200_000.0;
                for x in [x, x * 1e-3, x * 1e-6] {
                    let got = codes.values[usize::from(codes.nearest(x))];
                    let best = codes.values.iter().map(|v| (v - x).abs()).fold(1.0, f32::min);
                    assert!((got - x).abs() <= best * 1.0001 + 1e-12, "{x}: {got}");
                }
            }
        }
    }

    #[test]
    fn rounding_to_either_neighbour_is_right_on_average() {
        let codes = Codes::of(true);
        let x = [0.7312_f32; BLOCK];
        let mut sum = 0.0;
        for seed in 0..200 {
            let mut got = [0; BLOCK];
            let mut with_one = x;
            with_one[0] = 1.0;
            let scale = codes.encode(&with_one, &mut got, Some(Key::new(seed).seeds()), 0);
            let mut values = [0.0; BLOCK];
            codes.decode(&got, scale, &mut values);
            sum += values[1..].iter().map(|v| f64::from(*v)).sum::<f64>();
        }
        let mean = sum / (200.0 * (BLOCK - 1) as f64);
        assert!((mean - 0.7312).abs() < 2e-4, "{mean}");
    }
}
