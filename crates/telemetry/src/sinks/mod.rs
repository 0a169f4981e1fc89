//! The sinks: one file each, and its two lines here.

use rappel_config::Registry;
use rappel_config::no_more;

use crate::Build;

pub mod console;
pub mod jsonl;
pub mod tensorboard;

/// Every sink of a config's `telemetry.sinks`.
pub static SINKS: Registry<Build> = Registry {
    kind: "sink",
    common: &[],
    entries: &[console::ENTRY, jsonl::ENTRY, tensorboard::ENTRY],
    more: no_more,
};
