//! How rules run: over one element at a time, in two passes, over whole tensors, or over all parameters
//! as one vector; and the trait behind which an optimizer sees them all.

mod elementwise;
mod entry;
#[cfg(feature = "decompositions")]
pub(crate) mod linalg;
pub(crate) mod matrix;
#[cfg(feature = "decompositions")]
pub(crate) mod projection;
mod search;
mod stepper;
mod tensors;
mod two_pass;
pub(crate) mod vector;

pub use elementwise::{Average, Rule, elementwise, lazy_rows, lerp};
pub use entry::{Algorithm, RuleBuild, RuleEntry, entry};
pub use search::{Engine, Halt, Landscape, SearchState, Searching};
pub use stepper::{GradTransform, Member, Mode, Slot, StateDtype, StepArgs, Stepper};
pub use tensors::{ParamTensors, TensorRule, tensors};
pub use two_pass::{TwoPass, two_pass};
pub use vector::Vector;
