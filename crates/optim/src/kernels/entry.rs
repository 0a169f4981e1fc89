//! Rules by name.

use rappel_config::{ConfigError, Entry, Options};
use rappel_schedule::Horizon;

use super::stepper::Stepper;
use crate::options::RuleOptions;

/// An optimizer's options, and how its formula runs.
pub trait Algorithm: RuleOptions {
    /// What takes its steps: [`elementwise`](super::elementwise) of the rule, with as many slots of state as
    /// the options need, [`two_pass`](super::two_pass) or [`tensors`](super::tensors).
    fn stepper(&self) -> Box<dyn Stepper>;
}

/// Reads a rule from its options.
type ReadStepper = fn(&Options, Horizon) -> Result<Box<dyn Stepper>, ConfigError>;

/// How an entry of [`OPTIMIZERS`](crate::OPTIMIZERS) reads its options, and its documentation.
#[derive(Debug, Clone, Copy)]
pub struct RuleBuild {
    pub(crate) about: &'static str,
    pub(crate) stepper: ReadStepper,
}

/// An entry of [`OPTIMIZERS`](crate::OPTIMIZERS).
pub type RuleEntry = Entry<RuleBuild>;

/// The entry of the rule `A`: its name, its formula in a line, where it is from.
pub const fn entry<A: Algorithm>(
    name: &'static str,
    summary: &'static str,
    reference: &'static str,
) -> RuleEntry {
    let build = RuleBuild { about: A::ABOUT, stepper: stepper::<A> };
    Entry { name, summary, reference, fields: A::FIELDS, build }
}

fn stepper<A: Algorithm>(
    options: &Options,
    horizon: Horizon,
) -> Result<Box<dyn Stepper>, ConfigError> {
    Ok(A::read_over(options, Some(horizon))?.stepper())
}
