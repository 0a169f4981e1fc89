//! A power of the step.

use rappel_config::{Entry, OptionSet, Options, Range};

use crate::build::{Build, Ramp};
use crate::{Schedule, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "power",
    summary: "linear ramp over warmup_steps, then the power law a step ** b, at most 1",
    reference: "Shen et al., Power Scheduler, https://arxiv.org/abs/2408.13359",
    fields: PowerOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = PowerOptions::from_options(options)?;
        let warmup = own.ramp.steps(options, setting)?;
        let (a, b) = (own.a, own.b);
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

/// Its options.
#[derive(Debug, Options)]
struct PowerOptions {
    #[option(flatten)]
    ramp: Ramp,
    /// factor of the power
    #[option(range = Range::above(0.0))]
    a: f64,
    /// exponent of the step
    #[option(default = -0.51)]
    b: f64,
}
