//! The optimizers of a config's `[optimizer]` section.

use rappel_config::{OptionSet, Options, Registry};

use super::group::{Common, more};
use crate::kernels::RuleBuild;
use crate::rules::RULES;

/// Every optimizer of a config's `[optimizer]` section, with PyTorch's option names and defaults.
///
/// ```
/// use rappel_config::Family;
/// assert!(rappel_optim::OPTIMIZERS.info("adamw").is_ok());
/// ```
pub static OPTIMIZERS: Registry<RuleBuild> =
    Registry { kind: "optimizer", common: Section::FIELDS, entries: RULES, more };

/// What a section `optimizer` has beside the rule's own options.
#[derive(Debug, Options)]
pub(super) struct Section {
    #[option(flatten)]
    common: Common,
    /// list of { params = [patterns], other options }: parameters whose whole name a
    /// glob matches take these options, or with `name` another optimizer; first match wins
    groups: Option<toml::Value>,
}
