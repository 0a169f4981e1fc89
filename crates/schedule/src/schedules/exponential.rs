//! Falls by a factor every step.

use rappel_config::{Entry, OptionSet, Options};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "exponential",
    summary: "times gamma every step",
    reference: "torch.optim.lr_scheduler.ExponentialLR",
    fields: ExponentialOptions::FIELDS,
    build: Build::factors(|options, _| {
        let own = ExponentialOptions::from_options(options)?;
        Ok(exponential(own.gamma))
    })
    .about("`gamma ** step`. No warm-up: step 0 has factor 1."),
};

/// Its options.
#[derive(Debug, Options)]
struct ExponentialOptions {
    /// factor of each step
    #[option(range = 0.0..)]
    gamma: f64,
}

/// `gamma ** step`; it never ends.
///
/// ```
/// assert_eq!(rappel_schedule::exponential(0.5).at(3), 0.125);
/// ```
pub fn exponential(gamma: f64) -> Schedule {
    Schedule::from_fn(None, move |step| gamma.powf(step as f64))
}
