//! Half waves of a cosine until the end.

use std::f64::consts::PI;

use rappel_registry::{Entry, Field, Kind};

use crate::build::{Build, NUM_TRAINING_STEPS, WARMUP_STEPS, phases};
use crate::{Schedule, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_with_restarts",
    summary: "linear ramp over warmup_steps, then num_cycles half cosine waves, each from 1 to 0",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                transformers get_cosine_with_hard_restarts_schedule_with_warmup",
    fields: &[
        WARMUP_STEPS,
        NUM_TRAINING_STEPS,
        Field::new("num_cycles", Kind::int_from(1), "1", "half waves until the end"),
    ],
    build: Build::factors(|options, setting| {
        let (warmup, rest) = phases(options, setting)?;
        let cycles = options.u64("num_cycles") as f64;
        let waves = Schedule::from_fn(Some(rest), move |step| {
            if step >= rest {
                return 0.0;
            }
            let progress = step as f64 / rest as f64;
            0.5 * (1.0 + (PI * ((cycles * progress) % 1.0)).cos())
        });
        Ok(linear_warmup(warmup).then(waves))
    }),
};
