//! The mean of the latest checkpoints.

use rappel_config::{OptionSet, Options};

use crate::averaging::{AverageEntry, Averaging, Period};

pub(super) const ENTRY: AverageEntry = AverageEntry {
    name: "latest",
    summary: "the mean of the latest k weights taken in; k copies are kept",
    reference: "Kaddour, Stop wasting my time! (LAWA), https://arxiv.org/abs/2209.14981",
    fields: Latest::FIELDS,
    build: |options| Ok(Box::new(Latest::from_options(options)?)),
};

/// The mean of the latest `k` weights taken in, as the latest `k` checkpoints would give.
///
/// It follows a run that still improves, at `k` copies of the parameters: far apart they should be,
/// hundreds of steps ([`Period::every`]).
///
/// ```
/// use rappel_optim::{AdamW, Latest, Period, OptimizerConfig};
/// let latest = Latest { k: 4, period: Period { start: 0, every: 250 } };
/// let config = OptimizerConfig::new(AdamW::default()).average(latest);
/// ```
///
/// Kaddour, [Stop wasting my time! Saving days of ImageNet and BERT training with latest weight
/// averaging](https://arxiv.org/abs/2209.14981), 2022.
#[derive(Debug, Clone, PartialEq, Eq, Options)]
pub struct Latest {
    /// how many of the latest
    #[option(default = 5, range = 1..=1_000)]
    pub k: usize,
    /// Which steps are taken in.
    #[option(flatten)]
    pub period: Period,
}

impl Averaging for Latest {
    fn copies(&self) -> usize {
        self.k
    }

    fn period(&self) -> Period {
        self.period
    }

    fn take(&self, count: u64) -> (usize, f64) {
        ((count % self.k as u64) as usize, 1.0)
    }
}
