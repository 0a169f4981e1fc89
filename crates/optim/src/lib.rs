#![forbid(unsafe_code)]
//! Optimizers: update rules, written once as the paper writes them and run in one pass over memory.
//!
//! [`Optimizer`] takes the steps; [`Recipe`] says how: a rule, groups of parameters with other
//! options, clipping. Rules are structs with PyTorch's option names ([`Sgd`], [`Adam`],
//! [`AdamW`]); a config names them through [`OPTIMIZERS`].
//!
//! # Adding a rule
//! One file in `rules/` and its two lines in `rules/mod.rs`. The file declares the options
//! ([`options!`]), the numbers of a step ([`scalars!`]), the formula ([`Rule`]) and the `ENTRY`.
//! Config, help, checkpoints and the conformance tests follow from these.

mod average;
pub mod averages;
mod averaging;
mod backward;
mod clip;
mod elementwise;
mod error;
mod group;
mod lbfgs;
mod linalg;
mod matrix;
mod modifiers;
mod objective;
mod optimizer;
mod option;
mod plan;
mod projection;
mod recipe;
mod rows;
mod rule;
pub mod rules;
mod schedule_free;
mod scheduled;
mod search;
mod search_state;
mod state;
mod step;
mod stepper;
mod two_pass;
mod vector;
mod whole;

pub use averages::{AVERAGES, Averaging, Ema, Latest, Period, Swa};
pub use elementwise::{elementwise, lazy_rows};
pub use error::OptimError;
pub use group::Member;
pub use modifiers::{GradientNoise, Lookahead, Modifiers, Sam};
pub use objective::Objective;
pub use optimizer::{Optimizer, StepReport};
pub(crate) use option::one_of;
pub use option::{BETA, InvalidOption, OptionSet, OptionValue};
#[doc(hidden)]
pub use option::{OPTIONAL, field_of, range_of};
pub use plan::Plan;
pub use rappel_schedule::Schedule;
pub use recipe::Recipe;
pub use rule::{Algorithm, Average, Lift, Lifted, MAX_NUMBERS, Now, Rule, lerp};
pub use rules::OPTIMIZERS;
pub use rules::adadelta::Adadelta;
pub use rules::adafactor::Adafactor;
pub use rules::adagrad::Adagrad;
pub use rules::adalomo::AdaLomo;
pub use rules::adam::Adam;
pub use rules::adam_mini::AdamMini;
pub use rules::adamax::Adamax;
pub use rules::adamw::AdamW;
pub use rules::adan::Adan;
pub use rules::ademamix::AdEmaMix;
pub use rules::adopt::Adopt;
pub use rules::apollo::Apollo;
pub use rules::asgd::Asgd;
pub use rules::came::Came;
pub use rules::dadapt_adam::DAdaptAdam;
pub use rules::dadapt_sgd::DAdaptSgd;
pub use rules::galore::Galore;
pub use rules::lamb::Lamb;
pub use rules::lars::Lars;
pub use rules::lbfgs::{Lbfgs, LineSearch};
pub use rules::lion::Lion;
pub use rules::lomo::Lomo;
pub use rules::mars::Mars;
pub use rules::muon::Muon;
pub use rules::nadam::NAdam;
pub use rules::prodigy::Prodigy;
pub use rules::radam::RAdam;
pub use rules::rmsprop::RmsProp;
pub use rules::rprop::Rprop;
pub use rules::schedule_free_adamw::ScheduleFreeAdamW;
pub use rules::schedule_free_radam::ScheduleFreeRAdam;
pub use rules::schedule_free_sgd::ScheduleFreeSgd;
pub use rules::sgd::Sgd;
pub use rules::shampoo::Shampoo;
pub use rules::signum::Signum;
pub use rules::soap::Soap;
pub use rules::sophia_g::SophiaG;
pub use rules::sparse_adam::SparseAdam;
pub use rules::stable_adamw::StableAdamW;
pub use scheduled::{ScheduledValue, scheduled_values};
pub use search::{Engine, Halt, Landscape, SearchState, Searching};
pub use stepper::{Job, Memory, Mode, Prepare, Slot, StateDtype, Stepper, Views};
pub use two_pass::{TwoPass, two_pass};
pub use vector::Vector;
pub use whole::{TensorRule, Whole, whole};
