//! The named schedules: one file each, and its two lines here.

use rappel_config::{Entry, Registry};

use crate::Build;
use crate::build::more;

pub mod chained;
pub mod clamp;
pub mod constant;
pub mod constant_lr;
pub mod constant_with_warmup;
pub mod cosine;
pub mod cosine_annealing;
pub mod cosine_annealing_warm_restarts;
pub mod cosine_warmup_with_min_lr;
pub mod cosine_with_min_lr;
pub mod cosine_with_restarts;
pub mod cyclic;
pub mod exponential;
pub mod floor;
pub mod greedy;
pub mod inverse_sqrt;
pub mod lambda;
pub mod linear;
pub mod linear_lr;
pub mod multiplicative;
pub mod multistep;
pub mod noam;
pub mod one_cycle;
pub mod polynomial;
pub mod polynomial_lr;
pub mod power;
pub mod reduce_lr_on_plateau;
pub mod restarted;
pub mod rex;
pub mod scale;
pub mod sequential;
pub mod step;
pub mod warmup_stable_decay;

pub(crate) const ENTRIES: &[Entry<Build>] = &[
    chained::ENTRY,
    clamp::ENTRY,
    constant::ENTRY,
    constant_lr::ENTRY,
    constant_with_warmup::ENTRY,
    cosine::ENTRY,
    cosine_annealing::ENTRY,
    cosine_annealing_warm_restarts::ENTRY,
    cosine_warmup_with_min_lr::ENTRY,
    cosine_with_min_lr::ENTRY,
    cosine_with_restarts::ENTRY,
    cyclic::ENTRY,
    exponential::ENTRY,
    floor::ENTRY,
    greedy::ENTRY,
    inverse_sqrt::ENTRY,
    lambda::ENTRY,
    linear::ENTRY,
    linear_lr::ENTRY,
    multiplicative::ENTRY,
    multistep::ENTRY,
    noam::ENTRY,
    one_cycle::ENTRY,
    polynomial::ENTRY,
    polynomial_lr::ENTRY,
    power::ENTRY,
    reduce_lr_on_plateau::ENTRY,
    restarted::ENTRY,
    rex::ENTRY,
    scale::ENTRY,
    sequential::ENTRY,
    step::ENTRY,
    warmup_stable_decay::ENTRY,
];

/// Every schedule of a config's `[schedule]` section: Hugging Face's by the names of its
/// `SchedulerType`, PyTorch's in snake case without `LR` (with it where Hugging Face has the name).
///
/// Each builds a curve of factors that multiply the learning rate.
pub static SCHEDULES: Registry<Build> =
    Registry { kind: "schedule", common: &[], entries: ENTRIES, more };
