//! Falls by a factor every step.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "exponential",
    summary: "times gamma every step",
    reference: "torch.optim.lr_scheduler.ExponentialLR",
    fields: &[Field::required("gamma", Kind::Float(Range::from(0.0)), "factor of each step")],
    build: Build::factors(|options, _| Ok(exponential(options.f64("gamma"))))
        .about("`gamma ** step`. No warm-up: step 0 has factor 1."),
};

/// `gamma ** step`; it never ends.
///
/// ```
/// assert_eq!(rappel_schedule::exponential(0.5).at(3), 0.125);
/// ```
pub fn exponential(gamma: f64) -> Schedule {
    Schedule::from_fn(None, move |step| gamma.powf(step as f64))
}
