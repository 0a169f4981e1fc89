//! Random numbers as pure functions of where they are used.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::dtype::Element;

/// Names a stream of random numbers: a seed and the path to where they are used.
///
/// The numbers are a pure function of the key and the position in the stream (ChaCha with 8 rounds,
/// seeked to the position), so nothing has to be saved to draw the same again, and any number of
/// threads draws the same.
///
/// ```
/// use rappel_tensor::Key;
/// let dropout = Key::new(42).with_name("dropout").with(7);
/// assert_eq!(dropout.bits(3), dropout.bits(3));
/// assert_ne!(dropout.bits(3), dropout.with(0).bits(3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u64; 2]);

/// Positions that one task draws at a time.
const PIECE: usize = 1 << 14;

/// A round of mixing with full avalanche (the finaliser of SplitMix64).
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Key {
    /// The key of a run's seed.
    pub const fn new(seed: u64) -> Self {
        Self([mix(seed), mix(seed ^ 0x9e37_79b9_7f4a_7c15)])
    }

    /// The key one level further down the path: a step, a layer's number.
    #[must_use]
    pub const fn with(self, part: u64) -> Self {
        let a = mix(self.0[0] ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
        let b = mix(self.0[1].wrapping_add(part) ^ 0xd1b5_4a32_d192_ed03);
        Self([mix(a.wrapping_add(b.rotate_left(32))), mix(b ^ a)])
    }

    /// The key one level further down the path: a purpose, a layer's name.
    #[must_use]
    pub fn with_name(self, part: &str) -> Self {
        let key = self.with(part.len() as u64);
        part.as_bytes().chunks(8).fold(key, |key, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            key.with(u64::from_le_bytes(word))
        })
    }

    /// The generator, standing at 32-bit word `position`.
    pub(crate) fn at(self, position: u64) -> ChaCha8Rng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.0[0].to_le_bytes());
        seed[8..16].copy_from_slice(&self.0[1].to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_word_pos(u128::from(position));
        rng
    }

    /// Seeds for [`hash`].
    pub(crate) fn seeds(self) -> [u32; 2] {
        let mut rng = self.at(0);
        [rng.next_u32(), rng.next_u32()]
    }

    /// The 32 random bits at `position`.
    pub fn bits(self, position: u64) -> u32 {
        self.at(position).next_u32()
    }

    /// A number uniform in `0..n`, from position 0 (multiply and shift; the bias is below 2^-32
    /// for any `n` below 2^32).
    pub fn below(self, n: u64) -> u64 {
        ((u128::from(self.at(0).next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Fills with numbers uniform in `[low, high)`.
    pub fn fill_uniform<T: Element>(self, values: &mut [T], low: f64, high: f64) {
        self.fill(values, |rng| {
            let value = (high - low).mul_add(unit(rng), low);
            rng.next_u64();
            value
        });
    }

    /// Fills with normal numbers (Box and Muller's transform, one of the pair).
    pub fn fill_normal<T: Element>(self, values: &mut [T], mean: f64, std: f64) {
        self.fill(values, |rng| normal(rng, mean, std));
    }

    /// The values that [`fill_normal`](Key::fill_normal) of a longer slice would put at `first` and
    /// after it.
    pub fn fill_normal_from<T: Element>(self, first: usize, values: &mut [T], mean: f64, std: f64) {
        let mut rng = self.at(first as u64 * 4);
        for x in values {
            *x = T::from_f64(normal(&mut rng, mean, std));
        }
    }

    /// `draw` takes four words a value, so that every value has a place of its own in the stream.
    fn fill<T: Element>(self, values: &mut [T], draw: impl Fn(&mut ChaCha8Rng) -> f64 + Sync) {
        let fill = |(piece, values): (usize, &mut [T])| {
            let mut rng = self.at((piece * PIECE) as u64 * 4);
            for x in values {
                *x = T::from_f64(draw(&mut rng));
            }
        };
        if values.len() <= PIECE {
            fill((0, values));
        } else {
            values.par_chunks_mut(PIECE).enumerate().for_each(fill);
        }
    }
}

/// 32 bits for a position, uniform over the seeds: two rounds of xor-shift and multiply, with the
/// constants of a published search for the least bias (Wellons' `lowbias32` family,
/// <https://nullprogram.com/blog/2018/07/31/>), a seed before each.
#[inline(always)]
pub(crate) fn hash(position: u32, [a, b]: [u32; 2]) -> u32 {
    let x = position.wrapping_add(a);
    let x = (x ^ (x >> 16)).wrapping_mul(0x21f0_aaad);
    let x = (x ^ (x >> 15)).wrapping_add(b);
    let x = (x ^ (x >> 16)).wrapping_mul(0xd35a_2d97);
    x ^ (x >> 15)
}

/// One number of Box and Muller's pair.
fn normal(rng: &mut ChaCha8Rng, mean: f64, std: f64) -> f64 {
    let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
    let angle = std::f64::consts::TAU * unit(rng);
    (std * radius).mul_add(angle.cos(), mean)
}

/// Uniform in `[0, 1)`, with 53 bits.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distribution() {
        let mut x = vec![0.0_f64; 200_000];
        Key::new(1).fill_normal(&mut x, 1.0, 2.0);
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 1.0).abs() < 0.02 && (var - 4.0).abs() < 0.05, "{mean} {var}");
        Key::new(2).fill_uniform(&mut x, -1.0, 3.0);
        let mean = x.iter().sum::<f64>() / n;
        assert!((mean - 1.0).abs() < 0.02 && x.iter().all(|v| (-1.0..3.0).contains(v)), "{mean}");
    }

    #[test]
    fn values_do_not_depend_on_how_many_are_drawn() {
        let (mut long, mut short) = (vec![0.0_f32; 3 * PIECE], vec![0.0_f32; 100]);
        Key::new(3).fill_normal(&mut long, 0.0, 1.0);
        Key::new(3).fill_normal(&mut short, 0.0, 1.0);
        assert_eq!(long[..100], short);
        Key::new(3).fill_normal_from(PIECE + 7, &mut short, 0.0, 1.0);
        assert_eq!(long[PIECE + 7..][..100], short);
    }

    #[test]
    fn paths_differ() {
        let root = Key::new(0);
        let keys = [root, root.with(0), root.with(1), root.with_name("a"), root.with_name("b")];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[i + 1..] {
                assert_ne!(a, b);
            }
        }
        assert_ne!(root.with(1).with(2), root.with(2).with(1));
    }
}
