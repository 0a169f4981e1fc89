//! Which samples a step takes.

use crate::mix::hash_words;
use crate::{DataError, Permutation};

/// The samples of each step as a pure function of the step, whatever a sample is.
///
/// Step `s` of epoch `e` takes the samples `p_e(s B) .. p_e(s B + B)`, `B` the batch size, where `p_e`
/// is the epoch's [`Permutation`]; without `shuffle` they go in their own order.
///
/// ```
/// use rappel_data::Order;
/// let order = Order { samples: 5, batch_size: 2, shuffle: false, drop_last: false, seed: 0 };
/// order.check()?;
/// assert_eq!(order.steps_per_epoch(), 3);
/// assert_eq!([1, 2, 3].map(|step| order.samples(step)), [vec![2, 3], vec![4], vec![0, 1]]);
/// # Ok::<(), rappel_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Samples there are.
    pub samples: usize,
    /// Samples of one optimizer step, at least 1; where there are fewer, all of them.
    pub batch_size: usize,
    /// Whether each epoch has an order of its own.
    pub shuffle: bool,
    /// Whether an epoch's last, smaller batch is left out.
    pub drop_last: bool,
    /// The run's seed, which with the epoch chooses the order.
    pub seed: u64,
}

impl Order {
    /// Whether there are steps to take.
    ///
    /// # Errors
    /// [`DataError::Zero`], and [`DataError::TooFewSamples`] where every batch would be dropped.
    pub fn check(&self) -> Result<(), DataError> {
        let Self { samples, batch_size, .. } = *self;
        if batch_size == 0 {
            return Err(DataError::Zero { name: "batch_size" });
        }
        if self.drop_last && samples < batch_size {
            return Err(DataError::TooFewSamples { samples, batch_size });
        }
        Ok(())
    }

    /// Batches of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        let (samples, batch_size) = (self.samples as u64, self.batch_size as u64);
        if self.drop_last { samples / batch_size } else { samples.div_ceil(batch_size) }
    }

    /// The samples of a step, counted from 0 on through all epochs, in the order of its rows.
    pub fn samples(&self, step: u64) -> Vec<usize> {
        let (epoch, step) = (step / self.steps_per_epoch(), step % self.steps_per_epoch());
        let first = step as usize * self.batch_size;
        let rows = first..self.samples.min(first + self.batch_size);
        if !self.shuffle {
            return rows.collect();
        }
        let key = hash_words(self.seed, &[ORDER_OF_SAMPLES, epoch]);
        let order = Permutation::new(self.samples, key);
        rows.map(|row| order.at(row)).collect()
    }

    /// Part `index` of `count` of a step's samples: the parts, one after another, are all of them.
    ///
    /// With fewer samples than parts, which only an epoch's last batch can have, some are empty.
    ///
    /// # Panics
    /// If `index` is not less than `count`.
    #[track_caller]
    pub fn part(&self, step: u64, index: usize, count: usize) -> Vec<usize> {
        assert!(index < count, "micro-batch {index} of {count}");
        let samples = self.samples(step);
        samples[index * samples.len() / count..(index + 1) * samples.len() / count].to_vec()
    }
}

/// Keeps the hash that orders samples apart from others under the same seed.
const ORDER_OF_SAMPLES: u64 = 0x6f72_6465_7200;
