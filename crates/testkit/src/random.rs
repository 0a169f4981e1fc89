//! Small seeded random numbers for tests.

/// A generator whose numbers depend on its seed alone.
///
/// SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, OOPSLA
/// 2014). Apart from the library's own generator on purpose: a fault there must not hide itself
/// in the tests' inputs.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that starts at `seed`.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..1`, of 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// Uniform in `0..end`; `end` must be above 0.
    #[track_caller]
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "no number lies in 0..0");
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// Normal with mean 0 and standard deviation 1, by the Box-Muller transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// `len` normal values.
    pub fn normals(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.normal()).collect()
    }

    /// `len` normal values in f32.
    pub fn normals_f32(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.normal() as f32).collect()
    }

    /// A shape of up to `max_rank` dimensions, each in `1..=max_dim`.
    pub fn shape(&mut self, max_rank: usize, max_dim: usize) -> Vec<usize> {
        let rank = self.below(max_rank + 1);
        (0..rank).map(|_| 1 + self.below(max_dim)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_the_published_algorithm() {
        // The first outputs of the reference implementation (Vigna's splitmix64.c) for seed 1234567.
        let mut random = Random::new(1234567);
        assert_eq!(
            [random.bits(), random.bits(), random.bits()],
            [6457827717110365317, 3203168211198807973, 9817491932198370423]
        );
    }

    #[test]
    fn normal_values_have_the_moments_of_their_law() {
        let values = Random::new(3).normals(100_000);
        let moment = |k| values.iter().map(|v| v.powi(k)).sum::<f64>() / values.len() as f64;
        for (k, want, slack) in [(1, 0.0, 0.02), (2, 1.0, 0.03), (3, 0.0, 0.06), (4, 3.0, 0.2)] {
            assert!((moment(k) - want).abs() < slack, "moment {k} is {}", moment(k));
        }
    }

    #[test]
    fn below_reaches_every_number_evenly() {
        let mut random = Random::new(4);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
    }

    #[test]
    fn shapes_stay_in_their_bounds_and_reach_them() {
        let mut random = Random::new(5);
        let shapes: Vec<_> = (0..500).map(|_| random.shape(3, 4)).collect();
        assert!(shapes.iter().all(|s| s.len() <= 3 && s.iter().all(|d| (1..=4).contains(d))));
        assert!(shapes.iter().any(Vec::is_empty) && shapes.iter().any(|s| s.len() == 3));
        assert!(
            shapes.iter().flatten().any(|d| *d == 1) && shapes.iter().flatten().any(|d| *d == 4)
        );
    }
}
