//! A ramp, then a power of the way that is left.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::build::{Build, NUM_TRAINING_STEPS, WARMUP_STEPS, phases};
use crate::{linear_warmup, polynomial_decay};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "polynomial",
    summary: "linear ramp over warmup_steps, then a power of the way left, from 1 to lr_end",
    reference: "transformers get_polynomial_decay_schedule_with_warmup",
    fields: &[
        WARMUP_STEPS,
        NUM_TRAINING_STEPS,
        Field::new(
            "lr_end",
            Kind::Float(Range::from(0.0)),
            "1e-7",
            "the last value",
        ),
        Field::new("power", Kind::Float(Range::above(0.0)), "1.0", "1 is a straight line"),
    ],
    build: Build::factors(|options, setting| {
        let (warmup, rest) = phases(options, setting)?;
        let end = setting.fraction(options, "lr_end")?;
        if end >= 1.0 {
            let reason = "must be smaller than what the schedule starts from";
            return Err(options.invalid("lr_end", reason));
        }
        let bow = polynomial_decay(rest, options.f64("power")).floor(end);
        Ok(linear_warmup(warmup).then(bow))
    })
    .about("After the warm-up, `r + (1 - r) (1 - p) ** power`, where `p` is the part of the way that is \
            over and `r` is `lr_end` over the learning rate, or over `value` inline."),
};
