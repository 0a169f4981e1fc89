//! Every registry that a config can name entries of.

use rappel_data::SOURCES;
use rappel_model::ARCHITECTURES;
use rappel_optim::OPTIMIZERS;
use rappel_registry::Family;
use rappel_schedule::SCHEDULES;
use rappel_telemetry::SINKS;

use crate::TASKS;

/// The registries by what their entries are called together.
pub fn families() -> Vec<(&'static str, &'static dyn Family)> {
    vec![
        ("tasks", &TASKS),
        ("models", &ARCHITECTURES),
        ("optimizers", &OPTIMIZERS),
        ("schedules", &SCHEDULES),
        ("sources", &SOURCES),
        ("sinks", &SINKS),
    ]
}
