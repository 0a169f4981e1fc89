//! Whoever starts a run: the sink that sees its events from the first one on, and is asked a few questions.

use std::io::{Write, stderr};

use rappel_telemetry::{Event, Moment, Sink, TelemetryError};

/// A sink that watches a run from the moment it is read until its end, such as a progress bar, and answers
/// what the run has to ask. An event only goes one way, so these three questions have methods; all have
/// defaults.
///
/// ```
/// use rappel_telemetry::{Event, Moment, Sink, TelemetryError};
/// use rappel_train::Observer;
/// #[derive(Default)]
/// struct Losses(Vec<f64>);
/// impl Sink for Losses {
///     fn log(&mut self, _: Moment, event: &Event) -> Result<(), TelemetryError> {
///         if let Event::Step(step) = event {
///             self.0.push(step.loss);
///         }
///         Ok(())
///     }
/// }
/// impl Observer for Losses {
///     fn should_stop(&self) -> bool {
///         self.0.last().is_some_and(|loss| *loss < 0.1)
///     }
/// }
/// ```
pub trait Observer: Sink {
    /// Whether to stop: asked after each step. The run then saves a checkpoint and returns.
    fn should_stop(&self) -> bool {
        false
    }

    /// Whether a run begins that memory may not suffice for.
    fn forces(&self) -> bool {
        false
    }

    /// Where the config's sink `console` writes. Unset: standard error.
    fn console(&self) -> Box<dyn Write + Send> {
        Box::new(stderr())
    }
}

/// A no-op observer.
impl Observer for () {}

/// Keeps the notes, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes(pub Vec<String>);

impl Sink for Notes {
    fn log(&mut self, _: Moment, event: &Event) -> Result<(), TelemetryError> {
        if let Event::Note(text) = event {
            self.0.push((*text).to_owned());
        }
        Ok(())
    }
}

impl Observer for Notes {}

impl dyn Observer + '_ {
    /// Something is about to take time, such as reading the corpus.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn stage(&mut self, what: &str) -> Result<(), TelemetryError> {
        self.log(Moment::now(0), &Event::Stage(what))
    }

    /// Something that the user should know.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn note(&mut self, text: &str) -> Result<(), TelemetryError> {
        self.log(Moment::now(0), &Event::Note(text))
    }
}
