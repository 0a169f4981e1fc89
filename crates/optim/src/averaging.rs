//! What an average of the weights is.

use rappel_config::{ConfigError, Entry, Options};

/// How an average of the weights is taken.
///
/// Each copy is a running mean of parameters; the average is the mean of the copies that hold any.
pub trait Averaging: Send + Sync + std::fmt::Debug {
    /// Copies that are kept beside the parameters.
    fn copies(&self) -> usize {
        1
    }

    /// Which steps are taken in.
    fn period(&self) -> Period;

    /// The copy that takes in the parameters after `count` were taken in before, and their share
    /// in it, in `0..=1`: `copy <- copy + share (params - copy)`.
    fn take(&self, count: u64) -> (usize, f64);
}

/// Which steps an average takes in: every `every`-th after the first `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Options)]
pub struct Period {
    /// steps before the first that is taken in
    #[option(default = 0)]
    pub start: u64,
    /// steps from one that is taken in to the next
    #[option(default = 1, range = 1..)]
    pub every: u64,
}

impl Period {
    /// Every step, from the first on.
    pub const ALL: Self = Self { start: 0, every: 1 };

    /// Whether the parameters after `step` steps, at least 1, are taken in.
    pub fn is_due(self, step: u64) -> bool {
        step > self.start && (step - self.start).is_multiple_of(self.every)
    }
}

/// Builds an average from its options.
pub type BuildAverage = fn(&Options) -> Result<Box<dyn Averaging>, ConfigError>;

/// An entry of [`AVERAGES`](crate::AVERAGES).
pub(crate) type AverageEntry = Entry<BuildAverage>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_due_after_the_start() {
        let period = Period { start: 10, every: 5 };
        let due: Vec<u64> = (1..=25).filter(|step| period.is_due(*step)).collect();
        assert_eq!(due, [15, 20, 25]);
        assert!((1..9).all(|step| Period::ALL.is_due(step)));
    }
}
