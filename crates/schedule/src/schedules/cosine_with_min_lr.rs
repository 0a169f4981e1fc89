//! Waves of a cosine from 1 to a floor.

use rappel_registry::{ConfigError, Entry, Field, Kind, Options, Range};

use super::cosine::NUM_CYCLES;
use crate::build::{NUM_TRAINING_STEPS, Setting, WARMUP_STEPS, phases};
use crate::{Build, cosine_cycles, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_with_min_lr",
    summary: "linear ramp over warmup_steps, then half a cosine wave from 1 to min_lr_rate",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                transformers get_cosine_with_min_lr_schedule_with_warmup",
    fields: &[WARMUP_STEPS, NUM_TRAINING_STEPS, NUM_CYCLES, MIN_LR, MIN_LR_RATE],
    build: Build::factors(|options, setting| {
        let (warmup, rest) = phases(options, setting)?;
        let wave = cosine_cycles(rest, options.f64("num_cycles"));
        Ok(linear_warmup(warmup).then(wave.floor(least(options, setting)?)))
    }),
};

pub(super) const MIN_LR: Field =
    Field::optional("min_lr", Kind::Float(Range::from(0.0)), "the floor; give it or min_lr_rate")
        .aka(&["floor"]);

pub(super) const MIN_LR_RATE: Field = Field::optional(
    "min_lr_rate",
    Kind::Float(Range::from(0.0).to(1.0)),
    "the floor, as a fraction of the full learning rate",
)
.aka(&["min_lr_ratio"]);

/// The floor as a fraction, from whichever option gives it.
pub(super) fn least(options: &Options, setting: Setting) -> Result<f64, ConfigError> {
    let wants = |reason: &str| Err(options.invalid("min_lr", reason));
    match (options.opt_f64("min_lr"), options.opt_f64("min_lr_rate")) {
        (None, None) => wants("missing; give min_lr or min_lr_rate"),
        (Some(_), Some(_)) => wants("min_lr_rate is given too; give one"),
        (None, Some(rate)) => Ok(rate),
        (Some(_), None) => {
            let rate = setting.fraction(options, "min_lr")?;
            if rate <= 1.0 { Ok(rate) } else { wants("is above what the schedule starts from") }
        }
    }
}
