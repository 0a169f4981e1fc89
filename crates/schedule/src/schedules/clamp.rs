//! A schedule within bounds.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, Within};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "clamp",
    summary: "another schedule, its factors cut off below min and above max",
    reference: "Schedule::clamp",
    fields: ClampOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = ClampOptions::from_options(options)?;
        let min = own.min.unwrap_or(f64::NEG_INFINITY);
        let max = own.max.unwrap_or(f64::INFINITY);
        if min > max {
            return Err(options.invalid("min", format!("{min} is above max, {max}")));
        }
        Ok(own.within.curve(options, setting)?.clamp(min, max))
    })
    .about("`min(max(f, min), max)` The warm-up is that of the schedule within."),
};

/// Its options.
#[derive(Debug, Options)]
struct ClampOptions {
    #[option(flatten, required)]
    within: Within,
    /// smaller factors become this one
    min: Option<f64>,
    /// larger factors become this one
    max: Option<f64>,
}
