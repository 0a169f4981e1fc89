//! A schedule within bounds.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::build::{Build, SCHEDULE, inner};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "clamp",
    summary: "another schedule, its factors cut off below min and above max",
    reference: "Schedule::clamp",
    fields: &[
        SCHEDULE,
        Field::optional("min", Kind::Float(Range::FINITE), "smaller factors become this one"),
        Field::optional("max", Kind::Float(Range::FINITE), "larger factors become this one"),
    ],
    build: Build::factors(|options, setting| {
        let min = options.opt_f64("min").unwrap_or(f64::NEG_INFINITY);
        let max = options.opt_f64("max").unwrap_or(f64::INFINITY);
        if min > max {
            return Err(options.invalid("min", format!("{min} is above max, {max}")));
        }
        Ok(inner(options, setting)?.clamp(min, max))
    })
    .about("`min(max(f, min), max)` The warm-up is that of the schedule within."),
};
