//! Shuffles without a list: a keyed permutation, evaluated at one place at a time.

use rappel_tensor::{Kernel, Simd, dispatch};
use rayon::prelude::*;

use crate::mix::{coin, hash_words};

/// A permutation of `0..len` chosen by a key, in memory that grows with `log(len)` only.
///
/// It is the swap-or-not shuffle: in each round `r`, place `x` and its partner
/// `x' = (k_r - x) mod len` are swapped or not by one hashed bit of `max(x, x')`. A round is its own
/// inverse, so any number of rounds is a bijection for any `len`; `6 log2(len) + 24` rounds mix well.
///
/// Source: Hoang, Morris and Rogaway, "An enciphering scheme based on a card shuffle", CRYPTO 2012.
///
/// ```
/// use rappel_data::Permutation;
/// let shuffle = Permutation::new(10, 42);
/// let mut places: Vec<_> = (0..10).map(|i| shuffle.at(i)).collect();
/// places.sort_unstable();
/// assert!(places.into_iter().eq(0..10));
/// ```
#[derive(Debug, Clone)]
pub struct Permutation {
    len: u64,
    rounds: Vec<Round>,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    /// Less than `len`: places are paired so that a pair sums to it, modulo `len`.
    sum: u64,
    key: u64,
}

impl Round {
    #[inline(always)]
    fn of(self, x: u64, len: u64) -> u64 {
        let wrap = if x > self.sum { len } else { 0 };
        let partner = (self.sum + wrap) - x;
        // A choice without a branch: no processor predicts a fair coin.
        let chosen = coin(self.key ^ x.max(partner)).wrapping_neg();
        x ^ ((x ^ partner) & chosen)
    }
}

impl Permutation {
    /// The permutation of `0..len` that `key` chooses.
    pub fn new(len: usize, key: u64) -> Self {
        let len = len as u64;
        let rounds = 6 * (u64::BITS - len.leading_zeros()) + 24;
        let round = |r: u32| {
            let uniform = u128::from(hash_words(key, &[u64::from(r), 0]));
            let sum = ((uniform * u128::from(len)) >> 64) as u64;
            Round { sum, key: hash_words(key, &[u64::from(r), 1]) }
        };
        Self { len, rounds: (0..rounds).map(round).collect() }
    }

    /// Where place `i` goes.
    ///
    /// # Panics
    /// If `i` is not less than `len`.
    #[track_caller]
    pub fn at(&self, i: usize) -> usize {
        let mut x = i as u64;
        assert!(x < self.len, "place {i} of a permutation of {}", self.len);
        for round in &self.rounds {
            x = round.of(x, self.len);
        }
        x as usize
    }

    /// Replaces each of some places by where it goes, many of them at once: a place waits for each of its rounds, but places do
    /// not wait for one another.
    ///
    /// # Panics
    /// If one of them is not less than `len`.
    #[track_caller]
    pub fn apply(&self, places: &mut [u64]) {
        let beyond = places.iter().find(|place| **place >= self.len);
        assert!(beyond.is_none(), "place {} of a permutation of {}", beyond.unwrap(), self.len);
        let part = |places: &mut [u64]| dispatch(Rounds { of: self, places });
        if places.len() <= PART {
            return part(places);
        }
        places.par_chunks_mut(PART).for_each(part);
    }

    /// How many places it permutes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it permutes nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// All rounds of some places.
struct Rounds<'a> {
    of: &'a Permutation,
    places: &'a mut [u64],
}

/// Places that one thread goes through.
const PART: usize = 512;

/// Places that go through a round together.
const TOGETHER: usize = 32;

impl Kernel for Rounds<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for places in self.places.chunks_mut(TOGETHER) {
            // Places of a whole chunk stay in registers.
            let mut x = [0; TOGETHER];
            x[..places.len()].copy_from_slice(places);
            for round in &self.of.rounds {
                for x in &mut x {
                    *x = round.of(*x, self.of.len);
                }
            }
            places.copy_from_slice(&x[..places.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_up_to_5000_is_a_bijection() {
        (1..=5000).into_par_iter().for_each(|len| {
            let shuffle = Permutation::new(len, len as u64 ^ 0x5eed);
            let mut seen = vec![false; len];
            let mut together: Vec<u64> = (0..len as u64).collect();
            shuffle.apply(&mut together);
            for i in 0..len {
                let place = shuffle.at(i);
                assert_eq!(place as u64, together[i]);
                assert!(!std::mem::replace(&mut seen[place], true), "{len}: {place} twice");
            }
        });
    }

    #[test]
    fn places_and_orders_are_uniform() {
        // chi-square over where item 0 lands (9 degrees of freedom) and over the 24 orders of four
        // (23): beyond the given bounds less than once in 10^6 keys' choices.
        let trials = 24_000_u64;
        let mut lands = [0_f64; 10];
        let mut orders = std::collections::HashMap::<Vec<usize>, f64>::new();
        for key in 0..trials {
            lands[Permutation::new(10, key).at(0)] += 1.0;
            let four = Permutation::new(4, key);
            *orders.entry((0..4).map(|i| four.at(i)).collect()).or_default() += 1.0;
        }
        let chi = |counts: &mut dyn Iterator<Item = f64>, cells: f64| {
            let expected = trials as f64 / cells;
            counts.map(|count| (count - expected).powi(2) / expected).sum::<f64>()
        };
        assert_eq!(orders.len(), 24);
        assert!(chi(&mut lands.into_iter(), 10.0) < 45.0);
        assert!(chi(&mut orders.into_values(), 24.0) < 75.0);
    }

    #[test]
    fn keys_differ_and_neighbours_part() {
        let [a, b] = [1, 2].map(|key| Permutation::new(100_000, key));
        let same = (0..1000).filter(|&i| a.at(i) == b.at(i)).count();
        assert!(same < 5, "{same} places agree");
        let near = (0..1000).filter(|&i| a.at(i).abs_diff(a.at(i + 1)) < 100).count();
        assert!(near < 20, "{near} neighbours stay within 100");
    }
}
