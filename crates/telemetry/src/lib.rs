#![forbid(unsafe_code)]
//! Events of a run: metrics, histograms, texts and images, to JSON lines, TensorBoard event files and the console.
//!
//! A [`Sink`] takes [`Event`]s. [`open`] opens the sinks that a config names, in a fresh run
//! directory or one whose run continues: then every sink first forgets what was logged after the
//! checkpoint, so that the record reads as if the run had never stopped.
//!
//! ```
//! use rappel_config::toml;
//! use rappel_telemetry::{Event, Moment, Opening, SINKS, Sink, Start, open};
//! # let dir = tempfile::tempdir().unwrap();
//! let opening = Opening {
//!     dir: dir.path(),
//!     start: Start::Fresh,
//!     wall_time: 1_700_000_000.0,
//!     console: &|| Box::new(std::io::sink()),
//! };
//! let section = |text| Ok(SINKS.resolve("", &toml::from_str(text).unwrap())?.1);
//! let sections: Result<Vec<_>, rappel_telemetry::TelemetryError> =
//!     ["name = 'jsonl'", "name = 'tensorboard'\nhistogram_every = 50"].into_iter().map(section).collect();
//! let mut sinks = open(&sections?, &opening)?;
//! let values = [("train/loss", 4.25), ("train/lr", 3e-4)];
//! let at = Moment { step: 1, wall_time: 1_700_000_001.5 };
//! sinks.log(at, &Event::Scalars(&values))?;
//! sinks.flush()?;
//! assert_eq!(
//!     std::fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap(),
//!     "{\"step\":1,\"wall_time\":1700000001.5,\"train/loss\":4.25,\"train/lr\":0.0003}\n"
//! );
//! # Ok::<(), rappel_telemetry::TelemetryError>(())
//! ```
//!
//! # Adding a sink
//! One file in `sinks/` with its `ENTRY`, and its two lines in `sinks/mod.rs`.

mod error;
mod event;
mod histogram;
mod log_file;
mod open;
mod plugins;
mod pr_curve;
mod record;
mod sinks;
mod summary;

pub use error::TelemetryError;
pub use event::{Detail, Event, HParam, Moment, Sink, Started, Step, Values};
pub use histogram::Histogram;
pub use open::{Build, Opening, Sinks, Start, check_sections, draws_histograms, open};
pub use pr_curve::{PrCurve, THRESHOLDS};
pub use sinks::SINKS;
pub use sinks::console::Console;
pub use sinks::jsonl::JsonLines;
pub use sinks::tensorboard::{TensorBoard, TensorBoardOptions};
