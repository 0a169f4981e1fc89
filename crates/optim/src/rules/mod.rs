//! The rules: one file each, and its two lines here.

use rappel_registry::{ConfigError, Entry, Field, Options, Registry};
use rappel_schedule::Horizon;

use crate::Plan;
use crate::plan::{COMMON, more};
use crate::recipe::GROUPS_FIELD;

pub mod adadelta;
pub mod adafactor;
pub mod adagrad;
pub mod adalomo;
pub mod adam;
pub mod adam_mini;
pub mod adamax;
pub mod adamw;
pub mod adan;
pub mod ademamix;
pub mod adopt;
pub mod apollo;
pub mod asgd;
pub mod came;
pub mod dadapt_adam;
pub mod dadapt_sgd;
pub mod galore;
pub mod lamb;
pub mod lars;
pub mod lbfgs;
pub mod lion;
pub mod lomo;
pub mod mars;
pub mod muon;
pub mod nadam;
pub mod prodigy;
pub mod radam;
pub mod rmsprop;
pub mod rprop;
pub mod schedule_free_adamw;
pub mod schedule_free_radam;
pub mod schedule_free_sgd;
pub mod sgd;
pub mod shampoo;
pub mod signum;
pub mod soap;
pub mod sophia_g;
pub mod sparse_adam;
pub mod stable_adamw;

/// How an entry of [`OPTIMIZERS`] reads its options.
pub type Build = fn(&Options, Horizon) -> Result<Plan, ConfigError>;

/// Every optimizer of a config's `[optimizer]` section, with PyTorch's option names and defaults.
///
/// ```
/// use rappel_registry::Family;
/// assert!(rappel_optim::OPTIMIZERS.info("adamw").is_ok());
/// ```
pub static OPTIMIZERS: Registry<Build> =
    Registry { kind: "optimizer", common: &SECTION, entries: ENTRIES, more };

const SECTION: [Field; COMMON.len() + 1] = {
    let mut fields = [GROUPS_FIELD; COMMON.len() + 1];
    let mut i = 0;
    while i < COMMON.len() {
        fields[i] = COMMON[i];
        i += 1;
    }
    fields
};

const ENTRIES: &[Entry<Build>] = &[
    adadelta::ENTRY,
    adafactor::ENTRY,
    adagrad::ENTRY,
    adalomo::ENTRY,
    adam::ENTRY,
    adam_mini::ENTRY,
    adamax::ENTRY,
    adamw::ENTRY,
    adan::ENTRY,
    ademamix::ENTRY,
    adopt::ENTRY,
    apollo::ENTRY,
    asgd::ENTRY,
    came::ENTRY,
    dadapt_adam::ENTRY,
    dadapt_sgd::ENTRY,
    galore::ENTRY,
    lamb::ENTRY,
    lars::ENTRY,
    lbfgs::ENTRY,
    lion::ENTRY,
    lomo::ENTRY,
    mars::ENTRY,
    muon::ENTRY,
    nadam::ENTRY,
    prodigy::ENTRY,
    radam::ENTRY,
    rmsprop::ENTRY,
    rprop::ENTRY,
    schedule_free_adamw::ENTRY,
    schedule_free_radam::ENTRY,
    schedule_free_sgd::ENTRY,
    sgd::ENTRY,
    shampoo::ENTRY,
    signum::ENTRY,
    soap::ENTRY,
    sophia_g::ENTRY,
    sparse_adam::ENTRY,
    stable_adamw::ENTRY,
];
