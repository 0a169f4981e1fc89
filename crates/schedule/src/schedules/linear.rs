//! A straight line from 1 to 0.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::Phases;
use crate::{Build, Schedule, ScheduleFn, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "linear",
    summary: "linear ramp over warmup_steps, then a straight line from 1 to 0",
    reference: "transformers get_linear_schedule_with_warmup",
    fields: LinearOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = LinearOptions::from_options(options)?;
        let (warmup, rest) = own.phases.split(options, setting)?;
        Ok(linear_warmup(warmup).then(linear_decay(rest)))
    }),
};

/// Its options.
#[derive(Debug, Options)]
struct LinearOptions {
    #[option(flatten)]
    phases: Phases,
}

/// `1 - step / steps` until `steps`, 0 from there on; it lasts `steps` steps.
///
/// ```
/// use rappel_schedule::linear_decay;
/// let line = linear_decay(4);
/// assert_eq!([line.at(0), line.at(1), line.at(4), line.at(9)], [1.0, 0.75, 0.0, 0.0]);
/// ```
pub fn linear_decay(steps: u64) -> Schedule {
    Schedule::new(LinearDecay { steps })
}

#[derive(Debug)]
struct LinearDecay {
    steps: u64,
}

impl ScheduleFn for LinearDecay {
    fn at(&self, step: u64) -> f64 {
        // The steps left are exact integers, so the line reaches 0 without rounding.
        self.steps.saturating_sub(step) as f64 / self.steps.max(1) as f64
    }

    fn length(&self) -> Option<u64> {
        Some(self.steps)
    }
}
