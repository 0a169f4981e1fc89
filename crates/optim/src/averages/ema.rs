//! Exponential moving average.

use rappel_config::{OptionSet, Options, Range};

use crate::averaging::{AverageEntry, Averaging, Period};

pub(super) const ENTRY: AverageEntry = AverageEntry {
    name: "ema",
    summary: "avg <- decay avg + (1 - decay) p; the last 1 / (1 - decay) steps, softly",
    reference: "torch.optim.swa_utils.get_ema_avg_fn; Polyak and Juditsky, 1992; use_ema_warmup as diffusers' EMAModel",
    fields: EmaOptions::FIELDS,
    build: |options| Ok(Box::new(Ema::from(EmaOptions::from_options(options)?))),
};

/// An [`Ema`] as a config gives it.
#[derive(Debug, Options)]
struct EmaOptions {
    /// what is left of the average at each step that is taken in
    #[option(default = 0.999, range = 0.0..1.0, aka("ema_decay", "beta"))]
    decay: f64,
    /// decay rises as 1 - (1 + n / inv_gamma)^-power up to `decay`, n the steps taken in before
    #[option(default = false)]
    use_ema_warmup: bool,
    /// of the warm-up
    #[option(default = 1.0, range = Range::above(0.0))]
    inv_gamma: f64,
    /// of the warm-up; 2/3 suits runs of a million steps, 3/4 shorter ones
    #[option(default = 0.6666666666666666, range = Range::above(0.0))]
    power: f64,
    #[option(flatten)]
    period: Period,
}

impl From<EmaOptions> for Ema {
    fn from(options: EmaOptions) -> Self {
        let EmaOptions { decay, use_ema_warmup, inv_gamma, power, period } = options;
        Self { decay, warmup: use_ema_warmup.then_some(Warmup { inv_gamma, power }), period }
    }
}

/// The exponential moving average of weights.
///
/// `avg <- decay avg + (1 - decay) p` at each step that is taken in; the first one is the average
/// whole, as in PyTorch's `AveragedModel` with `get_ema_multi_avg_fn`. With
/// [`warmup`](Ema::warmup), the decay after `n` steps taken in is at most
/// `1 - (1 + n / inv_gamma)^-power`, as in diffusers' `EMAModel`, so that the first, bad weights are soon forgotten.
///
/// ```
/// use rappel_optim::{AdamW, Ema, OptimizerConfig};
/// let config = OptimizerConfig::new(AdamW::default()).average(Ema::default());
/// ```
///
/// Polyak and Juditsky, [Acceleration of stochastic approximation by
/// averaging](https://doi.org/10.1137/0330046), 1992.
#[derive(Debug, Clone, PartialEq)]
pub struct Ema {
    /// What is left of the average, in [0, 1). Default 0.999.
    pub decay: f64,
    /// How the decay rises at first. Default: not at all.
    pub warmup: Option<Warmup>,
    /// Which steps are taken in. Default: all.
    pub period: Period,
}

/// How the decay of an [`Ema`] rises.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warmup {
    /// The steps in which it first rises, inverted; above 0.
    pub inv_gamma: f64,
    /// How fast it rises; above 0.
    pub power: f64,
}

impl Default for Ema {
    fn default() -> Self {
        Self { decay: 0.999, warmup: None, period: Period::ALL }
    }
}

impl Averaging for Ema {
    fn period(&self) -> Period {
        self.period
    }

    fn take(&self, count: u64) -> (usize, f64) {
        if count == 0 {
            return (0, 1.0);
        }
        let most = self.warmup.map_or(1.0, |Warmup { inv_gamma, power }| {
            1.0 - (1.0 + count as f64 / inv_gamma).powf(-power)
        });
        (0, 1.0 - self.decay.min(most))
    }
}
