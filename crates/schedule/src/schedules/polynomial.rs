//! A ramp, then a power of the way that is left.

use rappel_config::{Entry, OptionSet, Options, Range};

use crate::build::{Build, Phases};
use crate::{linear_warmup, polynomial_decay};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "polynomial",
    summary: "linear ramp over warmup_steps, then a power of the way left, from 1 to lr_end",
    reference: "transformers get_polynomial_decay_schedule_with_warmup",
    fields: PolynomialOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = PolynomialOptions::from_options(options)?;
        let (warmup, rest) = own.phases.split(options, setting)?;
        let end = setting.fraction(options, "lr_end", own.lr_end)?;
        if end >= 1.0 {
            let reason = "must be smaller than what the schedule starts from";
            return Err(options.invalid("lr_end", reason));
        }
        let bow = polynomial_decay(rest, own.power).floor(end);
        Ok(linear_warmup(warmup).then(bow))
    })
    .about("After the warm-up, `r + (1 - r) (1 - p) ** power`, where `p` is the part of the way that is \
            over and `r` is `lr_end` over the learning rate, or over `value` inline."),
};

/// Its options.
#[derive(Debug, Options)]
struct PolynomialOptions {
    #[option(flatten)]
    phases: Phases,
    /// the last value
    #[option(default = 1e-7, range = 0.0..)]
    lr_end: f64,
    /// 1 is a straight line
    #[option(default = 1.0, range = Range::above(0.0))]
    power: f64,
}
