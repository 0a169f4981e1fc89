#![forbid(unsafe_code)]
#![allow(clippy::struct_excessive_bools, reason = "rules have as many switches as the originals")]
//! Optimizers: update rules, written once as the paper writes them and run in one pass over memory.
//!
//! [`Optimizer`] takes the steps; [`OptimizerConfig`] says how: a rule, groups of parameters with other
//! options, clipping. Rules are structs with PyTorch's option names ([`Sgd`], [`Adam`],
//! [`AdamW`]); a config names them through [`OPTIMIZERS`].
//!
//! # Adding a rule
//! One file in `rules/` and its line in `rules/mod.rs`. The file declares the options (a struct with [`Options`](macro@rappel_config::Options)), the
//! formula ([`rule::Rule`]) and the `ENTRY`. Config, help, checkpoints and the conformance tests follow
//! from these. A rule of one's own, in another crate, needs no entry: see [`rule`].
//!
//! # Where things are
//! `optimizer/` uses `config/`, which uses `rules/`, `wrappers/` and `averages/`; these use `kernels/`, and
//! `kernels/` the walks of `rappel-tensor`. Nothing points back.

// The derive macros name this crate.
extern crate self as rappel_optim;

pub mod averages;
mod averaging;
mod config;
mod context;
mod error;
mod kernels;
mod lbfgs;
mod optimizer;
mod options;
pub mod rule;
mod rules;
mod schedule_free;
#[cfg(test)]
mod traced_tests;
mod wrappers;

pub use averages::{AVERAGES, Ema, Latest, Swa};
pub use averaging::{Averaging, Period};
pub use config::{OPTIMIZERS, OptimizerConfig, ParamGroup, ScheduledValue, scheduled_values};
pub use error::OptimError;
pub use kernels::StateDtype;
pub use optimizer::{Footprint, Objective, Optimizer, StepReport};
pub use rappel_config::InvalidOption;
pub use rappel_schedule::Schedule;
pub use rules::*;
pub use wrappers::{GradientNoise, Lookahead, Sam, Wrappers};
