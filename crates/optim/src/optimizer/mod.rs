//! Steps over all parameters: who belongs where, clipping, state, averages, and rules that evaluate the
//! loss themselves.

mod average;
mod averaging;
mod backward;
mod clip;
mod closure;
mod core;
mod footprint;
mod group;
mod objective;
mod sam;
mod saved;
mod search;
mod search_state;
mod searching;
mod state;
mod step;

pub use core::{Optimizer, StepReport};
pub use footprint::Footprint;
pub use objective::Objective;
