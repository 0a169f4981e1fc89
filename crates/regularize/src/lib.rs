#![forbid(unsafe_code)]
//! Regularizers: what changes the forward pass or the loss so that a model generalises better.

mod penalty;

pub use penalty::{l1, l2};
