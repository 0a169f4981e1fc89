//! A linear ramp, then 1.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::Ramp;
use crate::{Build, Schedule, ScheduleFn};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "constant_with_warmup",
    summary: "linear ramp over warmup_steps, then factor 1",
    reference: "transformers get_constant_schedule_with_warmup",
    fields: ConstantWithWarmupOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = ConstantWithWarmupOptions::from_options(options)?;
        Ok(linear_warmup(own.ramp.steps(options, setting)?))
    }),
};

/// Its options.
#[derive(Debug, Options)]
struct ConstantWithWarmupOptions {
    #[option(flatten)]
    ramp: Ramp,
}

/// `step / steps` until `steps`, 1 from there on; it lasts `steps` steps.
///
/// This is Hugging Face's warm-up: step 0 has the factor 0, step `steps` the first full one. (Others
/// start at `1 / steps`, so that no step is lost.) Of 0 steps it is 1 from the start.
///
/// ```
/// use rappel_schedule::linear_warmup;
/// let ramp = linear_warmup(4);
/// assert_eq!([ramp.at(0), ramp.at(1), ramp.at(4), ramp.at(9)], [0.0, 0.25, 1.0, 1.0]);
/// ```
pub fn linear_warmup(steps: u64) -> Schedule {
    Schedule::new(LinearWarmup { steps })
}

#[derive(Debug)]
struct LinearWarmup {
    steps: u64,
}

impl ScheduleFn for LinearWarmup {
    fn at(&self, step: u64) -> f64 {
        if step < self.steps { step as f64 / self.steps as f64 } else { 1.0 }
    }

    fn length(&self) -> Option<u64> {
        Some(self.steps)
    }
}
