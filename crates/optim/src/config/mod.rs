//! What an optimizer is made from, in code or from a config file.

mod group;
mod options;
mod registry;
mod scheduled;
mod sections;

pub use group::ParamGroup;
pub(crate) use options::AfterStep;
pub use options::OptimizerConfig;
pub use registry::OPTIMIZERS;
pub use scheduled::{ScheduledValue, scheduled_values};
