//! Every registry that a config can name entries of.

use rappel_config::{Family, Field, Kind};
use rappel_model::ENCODERS;
use rappel_optim::{AVERAGES, OPTIMIZERS};
use rappel_regularize::REGULARIZERS;
use rappel_schedule::SCHEDULES;
use rappel_telemetry::SINKS;

use crate::{FUNCTIONS, TASKS};

/// The registries by what their entries are called together: the tasks, what the sections of each
/// task can name, and what is the same for all.
pub fn families() -> Vec<(String, &'static dyn Family)> {
    let mut families: Vec<&'static dyn Family> = vec![&TASKS];
    let sections = TASKS.entries.iter().flat_map(|task| task.fields).filter_map(section);
    for family in sections {
        // Tasks of one kind share their models.
        if families.iter().all(|known| known.kind() != family.kind()) {
            families.push(family);
        }
    }
    let shared: [&'static dyn Family; 7] =
        [&ENCODERS, &OPTIMIZERS, &SCHEDULES, &REGULARIZERS, &AVERAGES, &SINKS, &FUNCTIONS];
    let shared =
        shared.into_iter().filter(|family| families.iter().all(|of| of.kind() != family.kind()));
    let shared: Vec<_> = shared.collect();
    let named = |family: &'static dyn Family| (format!("{}s", family.kind()), family);
    families.into_iter().chain(shared).map(named).collect()
}

fn section(field: &Field) -> Option<&'static dyn Family> {
    match field.kind {
        Kind::Section(family) => Some(family),
        _ => None,
    }
}
