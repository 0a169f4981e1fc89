//! One over the square root of the step.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, Ramp};
use crate::{Schedule, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "inverse_sqrt",
    summary: "linear ramp over warmup_steps, then one over the square root of the step",
    reference: "transformers get_inverse_sqrt_schedule",
    fields: InverseSqrtOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = InverseSqrtOptions::from_options(options)?;
        let warmup = own.ramp.steps(options, setting)?;
        let default = if warmup == 0 { 10_000 } else { warmup };
        let scale = own.timescale.unwrap_or(default) as f64;
        let fall =
            Schedule::from_fn(None, move |step| 1.0 / ((step as f64 + scale) / scale).sqrt());
        Ok(linear_warmup(warmup).then(fall))
    })
    .about("After the warm-up, `1 / sqrt(1 + s / timescale)`, where `s` is the steps since."),
};

/// Its options.
#[derive(Debug, Options)]
struct InverseSqrtOptions {
    #[option(flatten)]
    ramp: Ramp,
    /// steps until it has fallen to 1 / sqrt(2); by default warmup_steps, or 10000 without
    #[option(range = 1..)]
    timescale: Option<u64>,
}
