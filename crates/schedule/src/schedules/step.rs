//! Falls by a factor every so many steps.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::build::Build;
use crate::{Schedule, ScheduleFn};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "step",
    summary: "times gamma every step_size steps",
    reference: "torch.optim.lr_scheduler.StepLR",
    fields: &[Field::required("step_size", Kind::int_from(1), "steps between two falls"), GAMMA],
    build: Build::factors(|options, _| {
        Ok(step_decay(options.u64("step_size"), options.f64("gamma")))
    })
    .about("`gamma ** floor(step / step_size)`. No warm-up: step 0 has factor 1."),
};

pub(crate) const GAMMA: Field =
    Field::new("gamma", Kind::Float(Range::from(0.0)), "0.1", "what each fall multiplies by");

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
