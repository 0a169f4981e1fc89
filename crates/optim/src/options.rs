//! What the options of all rules have.

use rappel_config::{OptionSet, Range};
use rappel_schedule::Schedule;

/// The options that every rule has; `#[derive(Descends)]` finds them by their names.
pub trait Descends {
    /// The learning rate.
    fn lr(&self) -> &Schedule;

    /// Whether steps go up the gradient.
    fn maximize(&self) -> bool;
}

/// The options of a rule.
pub trait RuleOptions:
    OptionSet + Descends + Clone + std::fmt::Debug + Send + Sync + 'static
{
}

impl<O: OptionSet + Descends + Clone + std::fmt::Debug + Send + Sync + 'static> RuleOptions for O {}

/// The range of each decay rate of a moving average.
pub const BETA: Range = Range::from(0.0).below(1.0);
