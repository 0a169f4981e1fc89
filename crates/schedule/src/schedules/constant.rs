//! The same value at every step.

use rappel_config::Entry;

use crate::{Build, Schedule, ScheduleFn};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "constant",
    summary: "factor 1 at every step",
    reference: "transformers get_constant_schedule",
    fields: &[],
    build: Build::factors(|_, _| Ok(constant(1.0))).about("No warm-up: step 0 has factor 1."),
};

/// `value` at every step; it never ends.
///
/// ```
/// assert_eq!(rappel_schedule::constant(0.1).at(1_000_000), 0.1);
/// ```
pub fn constant(value: f64) -> Schedule {
    Schedule::new(Constant(value))
}

#[derive(Debug)]
struct Constant(f64);

impl ScheduleFn for Constant {
    fn at(&self, _step: u64) -> f64 {
        self.0
    }

    fn length(&self) -> Option<u64> {
        None
    }
}
