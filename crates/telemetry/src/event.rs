//! What is told, and who is told.

use crate::TelemetryError;

/// Something a run tells of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Numbers of one step.
    Scalars {
        /// The optimizer step they belong to.
        step: u64,
        /// When, in seconds since 1970-01-01 UTC.
        wall_time: f64,
        /// Names such as `train/loss` with their values; any float, NaN and infinities too.
        values: &'a [(&'a str, f64)],
    },
}

impl Event<'_> {
    /// The optimizer step the event belongs to.
    pub fn step(&self) -> u64 {
        match self {
            Self::Scalars { step, .. } => *step,
        }
    }
}

/// Somewhere events go.
pub trait Sink: Send {
    /// Takes one event. When this returns, the event survives the death of the process.
    ///
    /// # Errors
    /// The system's refusal, such as a full disk. What was logged before is still whole, and the sink
    /// can be tried again.
    fn log(&mut self, event: &Event) -> Result<(), TelemetryError>;

    /// What is wrong with the record that was there when the sink was opened; nothing by default.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Waits until all that was logged is on the disk, where it survives the death of the machine.
    ///
    /// # Errors
    /// The system's refusal.
    fn flush(&mut self) -> Result<(), TelemetryError>;
}
