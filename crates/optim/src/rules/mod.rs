//! The rules: one file each, and its two lines here.

use rappel_registry::{ConfigError, Entry, Field, Kind, Options, Registry};
use rappel_schedule::Horizon;

use crate::Recipe;
use crate::recipe::GROUPS;

pub mod adam;
pub mod adamw;
pub mod sgd;

/// How an entry of [`OPTIMIZERS`] reads its options.
pub type Build = fn(&Options, Horizon) -> Result<Recipe, ConfigError>;

/// Every optimizer of a config's `[optimizer]` section, with PyTorch's option names and defaults.
///
/// ```
/// use rappel_registry::Family;
/// assert!(rappel_optim::OPTIMIZERS.info("adamw").is_ok());
/// ```
pub static OPTIMIZERS: Registry<Build> = Registry {
    kind: "optimizer",
    common: &[Field::optional("groups", Kind::Raw, GROUPS)],
    entries: ENTRIES,
};

const ENTRIES: &[Entry<Build>] = &[adam::ENTRY, adamw::ENTRY, sgd::ENTRY];
