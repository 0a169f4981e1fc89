//! A schedule again and again.

use rappel_registry::{Entry, Field, Kind};

use crate::build::{Build, SCHEDULE, Setting, inner};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "restarted",
    summary: "another schedule, from its start again every so many steps",
    reference: "Schedule::restarted",
    fields: &[
        SCHEDULE,
        Field::required("every", Kind::int_from(1), "steps of a round: the length that it is for"),
    ],
    build: Build::factors(|options, setting| {
        let every = options.u64("every");
        let round = Setting { horizon: crate::Horizon { steps: every }, ..setting };
        Ok(inner(options, round)?.lasting(every).restarted())
    })
    .about("A warm-up within it comes in each round."),
};
