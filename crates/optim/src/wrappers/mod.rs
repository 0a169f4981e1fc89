//! What can be put around any rule: penalties, weight decay, centred gradients, cautious masks,
//! Lookahead, sharpness-aware steps, and wrappers of a program's own.
//!
//! A wrapped rule works on copies of its parameters and gradients, some hundred elements at a time in
//! the first-level cache, so that it need not know of them.

mod around;
mod cautious;
mod lookahead;
mod options;
mod own;
mod sam;

pub(crate) use around::step_around;
pub(crate) use lookahead::{SLOW, begin, pull};
pub use options::{GradientNoise, Lookahead, Wrappers};
pub use own::{OwnWrapper, Wrapper};
pub use sam::Sam;
