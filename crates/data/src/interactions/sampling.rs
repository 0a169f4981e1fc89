//! Items that a user did not take: a pure function of a key and of the place in a batch.

use std::sync::Arc;

use rappel_config::Words;
use rappel_tensor::Key;
use rayon::prelude::*;

use super::Histories;
use crate::mix::hash_words;

/// With which probability an item is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// As often as it was taken, to a power.
    Popularity,
}

/// Draws items that a user did not take.
///
/// ```
/// use std::sync::Arc;
/// use rappel_data::{Distribution, Histories, NegativeSampler};
/// use rappel_tensor::Key;
/// let histories = Arc::new(Histories::new(2, &[0, 0, 1], &[1, 2, 0]));
/// let sampler = NegativeSampler::new(histories, 4, Distribution::Uniform, 1.0);
/// let drawn = sampler.draw(Key::new(7), &[0, 1], 3);
/// assert_eq!(drawn, sampler.draw(Key::new(7), &[0, 1], 3));
/// assert!(drawn[..3].iter().all(|item| [0, 3].contains(item)));
/// ```
#[derive(Debug, Clone)]
pub struct NegativeSampler {
    histories: Arc<Histories>,
    items: usize,
    /// The sum of the weights up to each item, where they are not alike.
    sums: Option<Vec<f64>>,
    /// The logarithm of the probability of each item.
    log_q: Vec<f32>,
}

/// Places that one thread draws for.
const PLACES: usize = 512;

/// So often a draw that the user took is drawn again.
const TRIES: u64 = 64;

impl NegativeSampler {
    /// A sampler of the items `0..items` that are not in a user's history; `power` is that of popularity.
    ///
    /// # Panics
    /// Without items.
    pub fn new(histories: Arc<Histories>, items: usize, of: Distribution, power: f64) -> Self {
        assert!(items > 0, "NegativeSampler: no items");
        let counts = histories.popularity(items);
        let weights: Vec<f64> = match of {
            Distribution::Uniform => vec![1.0; items],
            Distribution::Popularity => counts.iter().map(|n| f64::from(*n).powf(power)).collect(),
        };
        let total: f64 = weights.iter().sum();
        // What nobody took is never drawn, and so needs no probability.
        let log = |weight: &f64| (weight.max(f64::MIN_POSITIVE) / total).ln() as f32;
        let log_q = weights.iter().map(log).collect();
        let sums = (of == Distribution::Popularity).then(|| {
            let mut sum = 0.0;
            let add = |weight: &f64| {
                sum += weight;
                sum
            };
            weights.iter().map(add).collect()
        });
        Self { histories, items, sums, log_q }
    }

    /// The logarithm of the probability with which each item is drawn.
    pub fn log_q(&self) -> &[f32] {
        &self.log_q
    }

    /// `count` items for each of some users, one user after another. A user who took nearly all of them may get one
    /// that was taken.
    pub fn draw(&self, key: Key, users: &[u32], count: usize) -> Vec<u32> {
        let key = key.below(u64::MAX);
        let mut items = vec![0; users.len() * count];
        // Enough of them for a thread to be worth it.
        items.par_chunks_mut(PLACES).enumerate().for_each(|(piece, items)| {
            for (i, item) in items.iter_mut().enumerate() {
                let place = piece * PLACES + i;
                *item = self.one(key, place as u64, users[place / count] as usize);
            }
        });
        items
    }

    fn one(&self, key: u64, place: u64, user: usize) -> u32 {
        let mut item = 0;
        for again in 0..TRIES {
            item = self.any(hash_words(key, &[place, again]));
            if !self.histories.has(user, item) {
                break;
            }
        }
        item
    }

    /// An item by 64 random bits.
    fn any(&self, bits: u64) -> u32 {
        match &self.sums {
            None => ((u128::from(bits) * self.items as u128) >> 64) as u32,
            Some(sums) => {
                let total = sums.last().copied().unwrap_or(0.0);
                let at = (bits >> 11) as f64 / (1_u64 << 53) as f64 * total;
                sums.partition_point(|sum| *sum <= at).min(self.items - 1) as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_drawn_as_often_as_they_should_be() {
        // Items 0, 1, 2 and 3 are taken 0, 1, 2 and 5 times, by others than user 0.
        let histories =
            Arc::new(Histories::new(9, &[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 2, 3, 3, 3, 3, 3]));
        let counted = |of, power| {
            let sampler = NegativeSampler::new(histories.clone(), 4, of, power);
            let mut counts = [0.0; 4];
            for item in sampler.draw(Key::new(3), &[0], 80_000) {
                counts[item as usize] += 1.0 / 80_000.0;
            }
            let expected: Vec<f64> = sampler.log_q().iter().map(|q| f64::from(*q).exp()).collect();
            for (found, expected) in counts.iter().zip(&expected) {
                assert!((found - expected).abs() < 0.01, "{counts:?} {expected:?}");
            }
            expected
        };
        assert!((counted(Distribution::Uniform, 1.0)[0] - 0.25).abs() < 1e-6);
        assert!((counted(Distribution::Popularity, 1.0)[3] - 0.625).abs() < 1e-6);
        assert!(counted(Distribution::Popularity, 0.5)[3] < 0.5);
    }

    #[test]
    fn a_user_who_took_all_gets_an_item_all_the_same() {
        let histories = Arc::new(Histories::new(1, &[0, 0], &[0, 1]));
        let sampler = NegativeSampler::new(histories, 2, Distribution::Uniform, 1.0);
        assert!(sampler.draw(Key::new(0), &[0], 5).iter().all(|item| *item < 2));
    }
}
