//! A schedule times a number.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::build::{Build, SCHEDULE, inner};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "scale",
    summary: "another schedule, times factor",
    reference: "Schedule::scale",
    fields: &[
        SCHEDULE,
        Field::required("factor", Kind::Float(Range::FINITE), "what multiplies it"),
    ],
    build: Build::factors(|options, setting| {
        Ok(inner(options, setting)?.scale(options.f64("factor")))
    })
    .about("The warm-up is that of the schedule within."),
};
