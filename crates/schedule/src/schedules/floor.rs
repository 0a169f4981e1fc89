//! A schedule lifted.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::build::{Build, SCHEDULE, inner};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "floor",
    summary: "another schedule, lifted so that its 0 becomes floor and its 1 stays",
    reference: "Schedule::floor",
    fields: &[
        SCHEDULE,
        Field::required(
            "floor",
            Kind::Float(Range::from(0.0).to(1.0)),
            "what a factor of 0 becomes",
        ),
    ],
    build: Build::factors(|options, setting| {
        Ok(inner(options, setting)?.floor(options.f64("floor")))
    })
    .about(
        "`floor + (1 - floor) f`, as transformers' `min_lr_rate` does; `clamp` cuts off instead. A warm-up is one of them, or within one of them.",
    ),
};
