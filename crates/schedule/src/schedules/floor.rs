//! A schedule lifted.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, Within};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "floor",
    summary: "another schedule, lifted so that its 0 becomes floor and its 1 stays",
    reference: "Schedule::floor",
    fields: FloorOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = FloorOptions::from_options(options)?;
        Ok(own.within.curve(options, setting)?.floor(own.floor))
    })
    .about(
        "`floor + (1 - floor) f`, as transformers' `min_lr_rate` does; `clamp` cuts off instead. A warm-up is one of them, or within one of them.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct FloorOptions {
    #[option(flatten, required)]
    within: Within,
    /// what a factor of 0 becomes
    #[option(range = 0.0..=1.0)]
    floor: f64,
}
