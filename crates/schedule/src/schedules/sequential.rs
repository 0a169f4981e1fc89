//! One schedule after the other.

use rappel_config::{ConfigError, Entry, OptionSet, Options};

use crate::Schedule;
use crate::build::{Build, ScheduleList, Setting, milestones, part};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "sequential",
    summary: "schedules one after the other, the next from each of the milestones on",
    reference: "torch.optim.lr_scheduler.SequentialLR",
    fields: SequentialOptions::FIELDS,
    build: Build::factors(build).about(
        "Steps count from 0 in each of the schedules. A length that defaults to the run's is here the \
         length of the piece. A warm-up is a first piece that rises, or that of a piece, which comes again where the piece begins.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct SequentialOptions {
    #[option(flatten, required)]
    list: ScheduleList,
    /// list of the rising steps where the next begins
    milestones: toml::Value,
}

fn build(options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
    let own = SequentialOptions::from_options(options)?;
    let (tables, starts) = (own.list.parts(options)?, milestones(&own.milestones, options)?);
    let (pieces, run) = (tables.len(), setting.horizon.steps);
    if starts.len() + 1 != pieces {
        let wanted = pieces - 1;
        let reason = format!("{pieces} schedules want {wanted} milestones, got {}", starts.len());
        return Err(options.invalid("milestones", reason));
    }
    if let Some(late) = starts.iter().find(|start| **start > run) {
        let reason =
            format!("the schedule from step {late} on never comes in a run of {run} steps");
        return Err(options.invalid("milestones", reason));
    }
    let begins = std::iter::once(0).chain(starts.iter().copied());
    let ends = starts.iter().copied().chain([run]);
    let lengths: Vec<u64> = begins.zip(ends).map(|(begin, end)| end - begin).collect();
    let curves =
        tables.iter().zip(&lengths).map(|(table, length)| part(table, setting.lasting(*length)));
    let mut curves = curves.collect::<Result<Vec<_>, _>>()?.into_iter().zip(lengths).rev();
    // From the last, which may continue, to the first.
    let last = curves
        .next()
        .map(|(curve, _)| curve)
        .ok_or_else(|| options.invalid("schedules", "none"))?;
    Ok(curves.fold(last, |rest, (curve, length)| curve.lasting(length).then(rest)))
}
