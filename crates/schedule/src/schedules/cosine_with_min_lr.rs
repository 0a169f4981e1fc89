//! Waves of a cosine from 1 to a floor.

use rappel_registry::{Entry, Field, Kind, Range};

use super::cosine::NUM_CYCLES;
use crate::build::{NUM_TRAINING_STEPS, WARMUP_STEPS, phases};
use crate::{Build, cosine_cycles, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_with_min_lr",
    summary: "linear ramp over warmup_steps, then half a cosine wave from 1 to min_lr_rate",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                transformers get_cosine_with_min_lr_schedule_with_warmup",
    fields: &[
        WARMUP_STEPS,
        NUM_TRAINING_STEPS,
        NUM_CYCLES,
        Field::required(
            "min_lr_rate",
            Kind::Float(Range::from(0.0).to(1.0)),
            "the floor, as a fraction of the full learning rate",
        )
        .aka(&["min_lr", "floor", "min_lr_ratio"]),
    ],
    build: Build::factors(|options, setting| {
        let (warmup, rest) = phases(options, setting)?;
        let wave = cosine_cycles(rest, options.f64("num_cycles"));
        Ok(linear_warmup(warmup).then(wave.floor(options.f64("min_lr_rate"))))
    }),
};
