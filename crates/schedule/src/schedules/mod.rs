//! The named schedules: one file each, and its two lines here.

use rappel_registry::{Entry, Registry, no_more};

use crate::Build;

pub mod constant;
pub mod constant_with_warmup;
pub mod cosine;
pub mod cosine_with_min_lr;
pub mod linear;

pub(crate) const ENTRIES: &[Entry<Build>] = &[
    constant::ENTRY,
    constant_with_warmup::ENTRY,
    cosine::ENTRY,
    cosine_with_min_lr::ENTRY,
    linear::ENTRY,
];

/// Every schedule of a config's `[schedule]` section, named as Hugging Face's `SchedulerType`.
///
/// Each builds a curve of factors that multiply the learning rate.
pub static SCHEDULES: Registry<Build> =
    Registry { kind: "schedule", common: &[], entries: ENTRIES, more: no_more };
