//! One walk over parameters, gradients and optimizer state, in place.
//!
//! A step of an elementwise optimizer is bound by memory, so everything that it does to an element
//! happens while that element is in a register or the first-level cache: each byte is read once and
//! written once. [`update`] and its like cut the arenas into pieces and spread them over threads; what is
//! stored as bfloat16 or eight-bit codes passes through buffers in single precision, and so does what
//! stands around a rule ([`Wrap`]).

mod blocks;
mod compact;
mod formula;
mod memory;
mod quantile;
mod rows;
mod runs;
mod state;
mod trained;
mod walk;
mod wrap;

pub use compact::TableRows;
pub use formula::{Reduce, Update, apply, reduce};
pub use memory::Memory;
pub use quantile::BLOCK as STATE_BLOCK;
pub use runs::{Run, Runs};
pub use state::{StateArena, StateKind};
pub use trained::Trained;
pub use walk::{reduce_all, reduce_each, update, update_each, update_rows};
pub use wrap::{Wrap, Wrapping};

/// Elements in one task: enough to pay for handing it to a thread.
const PIECE: usize = 1 << 15;
/// The most slots of state a walk takes.
pub const MAX_SLOTS: usize = 8;

#[cfg(test)]
mod tests;
