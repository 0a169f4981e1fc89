//! A ramp that loses no step, then a cosine to a floor.

use rappel_config::{Entry, OptionSet, Options, Range};

use super::cosine_with_min_lr::Floor;
use crate::build::{Build, Phases, Ramp};
use crate::{Schedule, cosine_cycles};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_warmup_with_min_lr",
    summary: "ramp from warmup_lr_rate or the first part of it, then half a cosine wave to min_lr_rate",
    reference: "transformers get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
    fields: CosineWarmupWithMinLrOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = CosineWarmupWithMinLrOptions::from_options(options)?;
        let (warmup, rest) = Phases { ramp: Ramp { warmup_steps: own.warmup_steps }, num_training_steps: own.num_training_steps }.split(options, setting)?;
        let (length, start) = (warmup as f64, own.warmup_lr_rate);
        let ramp = Schedule::from_fn(Some(warmup), move |step| match start {
            None => (step as f64 + 1.0) / length.max(1.0),
            Some(start) => start + (1.0 - start) * step as f64 / (length - 1.0).max(1.0),
        });
        let wave = cosine_cycles(rest, own.num_cycles);
        // The last step, and not the one after it, is at the floor.
        let ahead = Schedule::from_fn(Some(rest), move |step| wave.at(step + 1));
        Ok(ramp.then(ahead.floor(own.floor.least(options, setting)?)))
    })
    .about("Unlike the other ramps this one is full at the step `warmup_steps - 1`, and the wave is one \
            step ahead, so that the last step of the run is at the floor."),
};

/// Its options.
#[derive(Debug, Options)]
struct CosineWarmupWithMinLrOptions {
    /// steps of the ramp; without warmup_lr_rate step s has factor (s + 1) / warmup_steps
    #[option(default = 0, also = "num_warmup_steps", aka("warmup"))]
    warmup_steps: u64,
    /// steps until the schedule's end, warm-up included; by default those of the run
    #[option(range = 1.., aka("total_steps", "max_steps"))]
    num_training_steps: Option<u64>,
    /// cosine waves until the end; 0.5 falls from 1 to 0 once
    #[option(default = 0.5, range = Range::above(0.0))]
    num_cycles: f64,
    #[option(flatten)]
    floor: Floor,
    /// factor of step 0; unset: 1 / warmup_steps
    #[option(range = 0.0..)]
    warmup_lr_rate: Option<f64>,
}
