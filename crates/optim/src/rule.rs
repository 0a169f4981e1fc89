//! What a rule is written with: everything that a writer of rules needs.
//!
//! ```
//! use rappel_optim::rule::*;
//!
//! /// Gradient descent: `p <- p - lr g`.
//! #[derive(Debug, Clone, Options, Descends)]
//! pub struct Plain {
//!     /// learning rate
//!     #[option(default = 0.1, range = 0.0..)]
//!     lr: Schedule,
//!     /// go up the gradient, not down
//!     #[option(default = false)]
//!     maximize: bool,
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

pub use rappel_config::{
    Checked, ConfigError, Descends, Field, InvalidOption, Kind, OptionSet, OptionValue, Options,
    Place, Range, Words,
};
pub use rappel_schedule::{Horizon, Schedule};
pub use rappel_tensor::{Real, Shape, Tensor};

pub use crate::context::{MAX_NUMBERS, StepContext};
pub use crate::kernels::{
    Algorithm, Average, Engine, GradTransform, Halt, Landscape, Member, Mode, ParamTensors, Rule,
    RuleEntry, SearchState, Searching, Slot, StepArgs, Stepper, TensorRule, TwoPass, Vector,
    elementwise, entry, lazy_rows, lerp, tensors, two_pass,
};
pub use crate::options::{BETA, Descends, RuleOptions};
pub use crate::wrappers::{OwnWrapper, Wrapper};
