//! A power of the step.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::build::{Build, WARMUP_STEPS, warmup};
use crate::{Schedule, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "power",
    summary: "linear ramp over warmup_steps, then the power law a step ** b, at most 1",
    reference: "Shen et al., Power Scheduler, https://arxiv.org/abs/2408.13359",
    fields: &[
        WARMUP_STEPS,
        Field::required("a", Kind::Float(Range::above(0.0)), "factor of the power"),
        Field::new("b", Kind::Float(Range::FINITE), "-0.51", "exponent of the step"),
    ],
    build: Build::factors(|options, setting| {
        let warmup = warmup(options, setting)?;
        let (a, b) = (options.f64("a"), options.f64("b"));
        // The power counts from the start of the run, wherever the ramp ends.
        let law = Schedule::from_fn(None, move |step| (a * ((step + warmup) as f64).powf(b)).min(1.0));
        Ok(linear_warmup(warmup).then(law))
    })
    .about(
        "After the warm-up, `min(1, a step ** b)`. The paper counts tokens: its `a` there is `a` times \
         the tokens of a step to the power `-b` here. Its last, falling phase is another schedule chained \
         to this one, such as warmup_stable_decay without warm-up.",
    ),
};
