#![forbid(unsafe_code)]
//! What a run tells of itself: scalars by step, to JSON lines, TensorBoard event files and the console.
//!
//! A [`Sink`] takes [`Event`]s. [`open`] opens the sinks that a config names, in a fresh run
//! directory or one whose run goes on: then every sink first forgets what was logged after the
//! checkpoint, so that the record reads as if the run had never stopped.
//!
//! ```
//! use rappel_telemetry::{Event, Opening, Sink, Start, open};
//! # let dir = tempfile::tempdir().unwrap();
//! let opening = Opening {
//!     dir: dir.path(),
//!     start: Start::Fresh,
//!     wall_time: 1_700_000_000.0,
//!     console: &|| Box::new(std::io::sink()),
//! };
//! let mut sinks = open(&["jsonl", "tensorboard"], &opening)?;
//! let values = [("train/loss", 4.25), ("train/lr", 3e-4)];
//! sinks.log(&Event::Scalars { step: 1, wall_time: 1_700_000_001.5, values: &values })?;
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
mod log_file;
mod open;
mod record;
mod sinks;

pub use error::TelemetryError;
pub use event::{Event, Sink};
pub use open::{Build, Opening, Sinks, Start, open};
pub use sinks::SINKS;
pub use sinks::console::Console;
pub use sinks::jsonl::JsonLines;
pub use sinks::tensorboard::TensorBoard;
