//! A schedule again and again.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, Setting, Within};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "restarted",
    summary: "another schedule, from its start again every so many steps",
    reference: "Schedule::restarted",
    fields: RestartedOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = RestartedOptions::from_options(options)?;
        let every = own.every;
        let round = Setting { horizon: crate::Horizon { steps: every }, ..setting };
        Ok(own.within.curve(options, round)?.lasting(every).restarted())
    })
    .about("A warm-up within it comes in each round."),
};

/// Its options.
#[derive(Debug, Options)]
struct RestartedOptions {
    #[option(flatten, required)]
    within: Within,
    /// steps of a round: the length that it is for
    #[option(range = 1..)]
    every: u64,
}
