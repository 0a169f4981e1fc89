//! Falls by a factor every so many steps.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::Build;
use crate::{Schedule, ScheduleFn};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "step",
    summary: "times gamma every step_size steps",
    reference: "torch.optim.lr_scheduler.StepLR",
    fields: StepOptions::FIELDS,
    build: Build::factors(|options, _| {
        let own = StepOptions::from_options(options)?;
        Ok(step_decay(own.step_size, own.gamma))
    })
    .about("`gamma ** floor(step / step_size)`. No warm-up: step 0 has factor 1."),
};

/// Its options.
#[derive(Debug, Options)]
struct StepOptions {
    /// steps between two falls
    #[option(range = 1..)]
    step_size: u64,
    /// what each fall multiplies by
    #[option(default = 0.1, range = 0.0..)]
    gamma: f64,
}

/// `gamma ** floor(step / step_size)`; it never ends.
///
/// ```
/// let stairs = rappel_schedule::step_decay(10, 0.5);
/// assert_eq!([stairs.at(9), stairs.at(10), stairs.at(20)], [1.0, 0.5, 0.25]);
/// ```
pub fn step_decay(step_size: u64, gamma: f64) -> Schedule {
    Schedule::new(StepDecay { step_size: step_size.max(1), gamma })
}

#[derive(Debug)]
struct StepDecay {
    step_size: u64,
    gamma: f64,
}

impl ScheduleFn for StepDecay {
    fn at(&self, step: u64) -> f64 {
        self.gamma.powf((step / self.step_size) as f64)
    }

    fn length(&self) -> Option<u64> {
        None
    }
}
