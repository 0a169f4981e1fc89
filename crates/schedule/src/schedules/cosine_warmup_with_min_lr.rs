//! A ramp that loses no step, then a cosine to a floor.

use rappel_registry::{Entry, Field, Kind, Range};

use super::cosine::NUM_CYCLES;
use super::cosine_with_min_lr::{MIN_LR, MIN_LR_RATE, least};
use crate::build::{Build, NUM_TRAINING_STEPS, WARMUP_STEPS, phases};
use crate::{Schedule, cosine_cycles};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_warmup_with_min_lr",
    summary: "ramp from warmup_lr_rate or the first part of it, then half a cosine wave to min_lr_rate",
    reference: "transformers get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
    fields: &[
        WARMUP,
        NUM_TRAINING_STEPS,
        NUM_CYCLES,
        MIN_LR,
        MIN_LR_RATE,
        Field::optional(
            "warmup_lr_rate",
            Kind::Float(Range::from(0.0)),
            "factor of step 0; unset: 1 / warmup_steps",
        ),
    ],
    build: Build::factors(|options, setting| {
        let (warmup, rest) = phases(options, setting)?;
        let (length, start) = (warmup as f64, options.opt_f64("warmup_lr_rate"));
        let ramp = Schedule::from_fn(Some(warmup), move |step| match start {
            None => (step as f64 + 1.0) / length.max(1.0),
            Some(start) => start + (1.0 - start) * step as f64 / (length - 1.0).max(1.0),
        });
        let wave = cosine_cycles(rest, options.f64("num_cycles"));
        // The last step, and not the one after it, is at the floor.
        let ahead = Schedule::from_fn(Some(rest), move |step| wave.at(step + 1));
        Ok(ramp.then(ahead.floor(least(options, setting)?)))
    })
    .about("Unlike the other ramps this one is full at the step `warmup_steps - 1`, and the wave is one \
            step ahead, so that the last step of the run is at the floor."),
};

const WARMUP: Field = Field {
    doc: "steps of the ramp; without warmup_lr_rate step s has factor (s + 1) / warmup_steps",
    ..WARMUP_STEPS
};
