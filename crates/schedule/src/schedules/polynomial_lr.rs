//! A power of the way that is left.

use rappel_config::{Entry, OptionSet, Options, Range};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "polynomial_lr",
    summary: "from 1 to 0 within total_iters steps, as a power of the way left",
    reference: "torch.optim.lr_scheduler.PolynomialLR",
    fields: PolynomialLrOptions::FIELDS,
    build: Build::factors(|options, _| {
        let own = PolynomialLrOptions::from_options(options)?;
        Ok(polynomial_decay(own.total_iters, own.power))
    })
    .about(
        "`(1 - min(step, total_iters) / total_iters) ** power`. No warm-up: step 0 has factor 1.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct PolynomialLrOptions {
    /// steps until 0, where it stays
    #[option(default = 5, range = 1..)]
    total_iters: u64,
    /// 1 is a straight line
    #[option(default = 1.0, range = Range::above(0.0))]
    power: f64,
}

/// `(1 - step / steps) ** power` until `steps`, 0 from there on; it lasts `steps` steps.
///
/// ```
/// let bow = rappel_schedule::polynomial_decay(4, 2.0);
/// assert_eq!([bow.at(0), bow.at(2), bow.at(9)], [1.0, 0.25, 0.0]);
/// ```
pub fn polynomial_decay(steps: u64, power: f64) -> Schedule {
    let at = move |step: u64| (1.0 - step.min(steps) as f64 / steps.max(1) as f64).powf(power);
    Schedule::from_fn(Some(steps), at)
}
