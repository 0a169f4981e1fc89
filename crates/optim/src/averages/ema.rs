//! Exponential moving average.

use rappel_registry::{Field, Kind, Range};

use crate::averaging::{AverageEntry, Averaging, Period};

pub(super) const ENTRY: AverageEntry = AverageEntry {
    name: "ema",
    summary: "avg <- decay avg + (1 - decay) p; the last 1 / (1 - decay) steps, softly",
    reference: "torch.optim.swa_utils.get_ema_avg_fn; Polyak and Juditsky, 1992; use_ema_warmup as diffusers' EMAModel",
    fields: &[
        Field::new(
            "decay",
            Kind::Float(Range::from(0.0).below(1.0)),
            "0.999",
            "what is left of the average at each step that is taken in",
        )
        .aka(&["ema_decay", "beta"]),
        Field::new(
            "use_ema_warmup",
            Kind::Bool,
            "false",
            "decay rises as 1 - (1 + n / inv_gamma)^-power up to `decay`, n the steps taken in before",
        ),
        Field::new("inv_gamma", Kind::Float(Range::above(0.0)), "1.0", "of the warm-up"),
        Field::new(
            "power",
            Kind::Float(Range::above(0.0)),
            "0.6666666666666666",
            "of the warm-up; 2/3 suits runs of a million steps, 3/4 shorter ones",
        ),
    ],
    build: |options| {
        Ok(Box::new(Ema {
            decay: options.f64("decay"),
            warmup: options.bool("use_ema_warmup").then(|| Warmup {
                inv_gamma: options.f64("inv_gamma"),
                power: options.f64("power"),
            }),
            period: Period::from_options(options),
        }))
    },
};

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
