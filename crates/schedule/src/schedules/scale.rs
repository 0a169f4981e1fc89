//! A schedule times a number.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, Within};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "scale",
    summary: "another schedule, times factor",
    reference: "Schedule::scale",
    fields: ScaleOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = ScaleOptions::from_options(options)?;
        Ok(own.within.curve(options, setting)?.scale(own.factor))
    })
    .about("The warm-up is that of the schedule within."),
};

/// Its options.
#[derive(Debug, Options)]
struct ScaleOptions {
    #[option(flatten, required)]
    within: Within,
    /// what multiplies it
    factor: f64,
}
