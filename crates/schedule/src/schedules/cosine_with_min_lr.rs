//! Waves of a cosine from 1 to a floor.

use rappel_config::{ConfigError, Entry, OptionSet, Options, Range};

use crate::build::{Phases, Setting};
use crate::{Build, cosine_cycles, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_with_min_lr",
    summary: "linear ramp over warmup_steps, then half a cosine wave from 1 to min_lr_rate",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                transformers get_cosine_with_min_lr_schedule_with_warmup",
    fields: CosineWithMinLrOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = CosineWithMinLrOptions::from_options(options)?;
        let (warmup, rest) = own.phases.split(options, setting)?;
        let wave = cosine_cycles(rest, own.num_cycles);
        Ok(linear_warmup(warmup).then(wave.floor(own.floor.least(options, setting)?)))
    }),
};

/// Its options.
#[derive(Debug, Options)]
struct CosineWithMinLrOptions {
    #[option(flatten)]
    phases: Phases,
    /// cosine waves until the end; 0.5 falls from 1 to 0 once
    #[option(default = 0.5, range = Range::above(0.0))]
    num_cycles: f64,
    #[option(flatten)]
    floor: Floor,
}

/// The floor, in either of two ways.
#[derive(Debug, Options)]
pub(super) struct Floor {
    /// the floor; give it or min_lr_rate
    #[option(range = 0.0.., aka("floor"))]
    min_lr: Option<f64>,
    /// the floor, as a fraction of the full learning rate
    #[option(range = 0.0..=1.0, aka("min_lr_ratio"))]
    min_lr_rate: Option<f64>,
}

impl Floor {
    /// The floor as a fraction, from whichever option gives it.
    pub fn least(&self, options: &Options, setting: Setting) -> Result<f64, ConfigError> {
        let wants = |reason: &str| Err(options.invalid("min_lr", reason));
        match (self.min_lr, self.min_lr_rate) {
            (None, None) => wants("missing; give min_lr or min_lr_rate"),
            (Some(_), Some(_)) => wants("min_lr_rate is given too; give one"),
            (None, Some(rate)) => Ok(rate),
            (Some(lr), None) => {
                let rate = setting.fraction(options, "min_lr", lr)?;
                if rate <= 1.0 { Ok(rate) } else { wants("is above what the schedule starts from") }
            }
        }
    }
}
