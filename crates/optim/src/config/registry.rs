//! The optimizers of a config's `[optimizer]` section.

use rappel_registry::{Field, Kind, Registry};

use super::group::{COMMON, more};
use crate::kernels::RuleBuild;
use crate::rules::RULES;

/// What the config's `groups` are, for help texts.
pub(super) const GROUPS: &str = "list of { params = [patterns], other options }: parameters whose whole name a \
                      glob matches take these options, or with `name` another optimizer; first match wins";

/// Every optimizer of a config's `[optimizer]` section, with PyTorch's option names and defaults.
///
/// ```
/// use rappel_registry::Family;
/// assert!(rappel_optim::OPTIMIZERS.info("adamw").is_ok());
/// ```
pub static OPTIMIZERS: Registry<RuleBuild> =
    Registry { kind: "optimizer", common: &SECTION, entries: RULES, more };

const SECTION: [Field; COMMON.len() + 1] = {
    let mut fields = [Field::optional("groups", Kind::Raw, GROUPS); COMMON.len() + 1];
    let mut i = 0;
    while i < COMMON.len() {
        fields[i] = COMMON[i];
        i += 1;
    }
    fields
};
