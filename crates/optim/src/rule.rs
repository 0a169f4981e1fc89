//! What a rule is written with: everything that a writer of rules needs.
//!
//! ```
//! use rappel_optim::rule::*;
//!
//! rappel_optim::options! {
//!     /// Gradient descent: `p <- p - lr g`.
//!     pub struct Plain {
//!         /// learning rate
//!         lr: Schedule = "0.1", scheduled(Range::from(0.0));
//!         /// go up the gradient, not down
//!         maximize: bool = "false", Kind::Bool;
//!     }
//! }
//!
//! impl Algorithm for Plain {
//!     fn stepper(&self) -> Box<dyn Stepper> {
//!         elementwise::<0, _>(self)
//!     }
//! }
//!
//! impl Rule<0> for Plain {
//!     const STATE: [Slot; 0] = [];
//!
//!     fn step<R: Real>(&self, t: &StepContext) -> impl Fn(R, R, [R; 0]) -> (R, [R; 0]) {
//!         let lr = R::of(t.lr(&self.lr));
//!         #[inline(always)]
//!         move |p, g, []| (p - lr * g, [])
//!     }
//! }
//! ```

pub use rappel_registry::{ConfigError, Field, Kind, Options, Range};
pub use rappel_schedule::{Horizon, Schedule, scheduled};
pub use rappel_tensor::{Real, Shape, Tensor};

pub use crate::context::{MAX_NUMBERS, StepContext};
pub use crate::kernels::{
    Algorithm, Average, Engine, GradTransform, Halt, Landscape, Member, Mode, ParamTensors, Rule,
    RuleEntry, SearchState, Searching, Slot, StepArgs, Stepper, TensorRule, TwoPass, Vector,
    elementwise, entry, lazy_rows, lerp, tensors, two_pass,
};
pub(crate) use crate::options::one_of;
pub use crate::options::{BETA, InvalidOption, OptionSet, OptionValue};
pub use crate::wrappers::{OwnWrapper, Wrapper};
