//! Falls by a factor at given steps.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, milestones};
use crate::{Schedule, ScheduleFn};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "multistep",
    summary: "times gamma at each of the milestones",
    reference: "torch.optim.lr_scheduler.MultiStepLR",
    fields: MultistepOptions::FIELDS,
    build: Build::factors(|options, _| {
        let own = MultistepOptions::from_options(options)?;
        Ok(multistep(milestones(&own.milestones, options)?, own.gamma))
    })
    .about(
        "`gamma ** (how many milestones are at or before step)`. No warm-up: step 0 has factor 1.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct MultistepOptions {
    /// list of rising steps; one given twice counts twice
    milestones: toml::Value,
    /// what each fall multiplies by
    #[option(default = 0.1, range = 0.0..)]
    gamma: f64,
}

/// `gamma ** n`, where `n` of the milestones are at or before the step; it never ends.
///
/// ```
/// let stairs = rappel_schedule::multistep([3, 5], 0.5);
/// assert_eq!([stairs.at(2), stairs.at(3), stairs.at(5)], [1.0, 0.5, 0.25]);
/// ```
pub fn multistep(milestones: impl Into<Vec<u64>>, gamma: f64) -> Schedule {
    let mut milestones = milestones.into();
    milestones.sort_unstable();
    Schedule::new(MultiStep { milestones, gamma })
}

#[derive(Debug)]
struct MultiStep {
    milestones: Vec<u64>,
    gamma: f64,
}

impl ScheduleFn for MultiStep {
    fn at(&self, step: u64) -> f64 {
        let passed = self.milestones.partition_point(|milestone| *milestone <= step);
        self.gamma.powf(passed as f64)
    }

    fn length(&self) -> Option<u64> {
        None
    }
}
