#![forbid(unsafe_code)]
//! Values that depend on the step: learning rates above all, and any other scalar hyperparameter.
//!
//! A [`Schedule`] is a number or a pure function of the step, so a resumed run needs nothing saved.
//! Schedules compose: pieces know how many steps they last, so that [`then`](Schedule::then) needs no
//! number. A function of one's own implements [`ScheduleFn`] or goes through [`Schedule::from_fn`].
//!
//! ```
//! use rappel_schedule::{cosine, linear_warmup};
//! let lr = linear_warmup(100).then(cosine(1_900).floor(0.1)) * 3e-4;
//! assert_eq!(lr.at(0), 0.0);
//! assert_eq!(lr.at(50), 1.5e-4);
//! assert_eq!(lr.at(100), 3e-4);
//! assert!((lr.at(2_000) - 3e-5).abs() < 1e-18);
//! ```
//!
//! In a config, `[schedule]` names an entry of [`SCHEDULES`]: a curve of factors for the learning
//! rate, as in Hugging Face's `get_scheduler`. Any option declared with [`scheduled`] takes a number
//! or such a table with the key `value`, which the factors multiply. What PyTorch's and transformers'
//! schedulers take as learning rates (`max_lr`, `eta_min`, `min_lr`, `lr_end`) is that in `[schedule]` too, for each
//! group of parameters, whatever its own rate; inline it is a value of the option. `cyclic`, `one_cycle` and
//! `noam` need no `value` there.
//!
//! Combinators are methods of [`Schedule`] and entries of [`SCHEDULES`] alike: `then` is `sequential`, the product
//! `chained`, and `scale`, `floor`, `clamp` and `restarted` have their names. What follows a metric of the
//! validations instead of the step is a [`Feedback`].
//!
//! # Adding a schedule
//! One file in `schedules/` with its function and its `ENTRY`, its two lines in `schedules/mod.rs`, and
//! its variants in a generator in `testdata/generators/`, against which the tests hold it.

mod build;
mod combine;
mod config;
mod feedback;
mod formula;
mod schedules;
mod value;

pub use build::Build;
pub use config::{ScheduleConfig, counted, scheduled};
pub use feedback::{Feedback, Watch};
pub use rappel_config::Horizon;
pub use schedules::SCHEDULES;
pub use schedules::constant::constant;
pub use schedules::constant_with_warmup::linear_warmup;
pub use schedules::cosine::{cosine, cosine_cycles};
pub use schedules::exponential::exponential;
pub use schedules::linear::linear_decay;
pub use schedules::multistep::multistep;
pub use schedules::polynomial_lr::polynomial_decay;
pub use schedules::step::step_decay;
pub use value::{Schedule, ScheduleFn};
