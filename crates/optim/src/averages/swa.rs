//! Stochastic weight averaging.

use rappel_config::{OptionSet, Options};

use crate::averaging::{AverageEntry, Averaging, Period};

pub(super) const ENTRY: AverageEntry = AverageEntry {
    name: "swa",
    summary: "the mean of the weights of all steps taken in, each with the same share",
    reference: "torch.optim.swa_utils.AveragedModel; Izmailov et al., https://arxiv.org/abs/1803.05407",
    fields: Swa::FIELDS,
    build: |options| Ok(Box::new(Swa::from_options(options)?)),
};

/// Stochastic weight averaging: `avg <- avg + (p - avg) / (n + 1)`, `n` the steps taken in before.
///
/// It is the tail of a run that is worth averaging, at a learning rate that stays high enough to
/// move: set [`Period::start`] to about three quarters of it, and the schedule to a constant tail.
///
/// ```
/// use rappel_optim::{Period, OptimizerConfig, Sgd, Swa};
/// let period = Period { start: 750, every: 10 };
/// let config = OptimizerConfig::new(Sgd::default()).average(Swa { period });
/// ```
///
/// Izmailov et al., [Averaging weights leads to wider optima and better
/// generalization](https://arxiv.org/abs/1803.05407), 2018, as PyTorch's `AveragedModel`.
#[derive(Debug, Clone, PartialEq, Eq, Options)]
pub struct Swa {
    /// Which steps are taken in.
    #[option(flatten)]
    pub period: Period,
}

impl Averaging for Swa {
    fn period(&self) -> Period {
        self.period
    }

    fn take(&self, count: u64) -> (usize, f64) {
        (0, 1.0 / (count + 1) as f64)
    }
}
