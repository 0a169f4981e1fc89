//! Events of a run, and sinks that take them.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Histogram, PrCurve, TelemetryError};

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Optimizer steps taken.
    pub step: u64,
    /// Seconds since 1970-01-01 UTC.
    pub wall_time: f64,
}

impl Moment {
    /// Now, after so many steps.
    pub fn now(step: u64) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self { step, wall_time: since.map_or(0.0, |since| since.as_secs_f64()) }
    }
}

/// Names with values, such as `train/loss`; any float, NaN and infinities too.
pub type Values<'a> = &'a [(&'a str, f64)];

/// Something that happens in a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something is about to take time, such as reading the corpus.
    Stage(&'a str),
    /// Bytes of a file came from elsewhere: how many are there, and how many it has.
    Download {
        /// The file's name.
        file: &'a str,
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that it has.
        total: u64,
    },
    /// Something that the user should know.
    Note(&'a str),
    /// The run is ready for its first step.
    Started(Started<'a>),
    /// The options that can change the run's numbers, by their keys.
    HParams(&'a [(String, HParam)]),
    /// A step is done. Every step is such an event; [`Scalars`](Self::Scalars) are what is recorded of some.
    Step(Step),
    /// Numbers to record.
    Scalars(Values<'a>),
    /// The metrics of a validation by their names, the loss first.
    Validation(Values<'a>),
    /// Distributions of numbers.
    Histograms(&'a [(String, Histogram)]),
    /// A text in Markdown.
    Text {
        /// Its name.
        name: &'a str,
        /// The text.
        markdown: &'a str,
    },
    /// A picture.
    Image {
        /// Its name.
        name: &'a str,
        /// Width and height in pixels.
        size: [usize; 2],
        /// The bytes of a PNG file.
        png: &'a [u8],
    },
    /// Precision and recall over thresholds, by class.
    PrCurves(&'a [(String, PrCurve)]),
    /// A checkpoint is on the disk.
    Saved(&'a Path),
    /// All steps are done and the model is written: the metrics of that model.
    Ended(Values<'a>),
}

impl Event<'_> {
    /// The scalars that a record of the run keeps of the event: those of a step, and the metrics of a
    /// validation as `validation/loss` and the like. None for every other event.
    pub fn scalars(&self) -> Option<Vec<(String, f64)>> {
        let named = |prefix: &str, values: Values| {
            values.iter().map(|(name, value)| (format!("{prefix}{name}"), *value)).collect()
        };
        match self {
            Self::Scalars(values) => Some(named("", values)),
            Self::Validation(values) => Some(named("validation/", values)),
            _ => None,
        }
    }
}

/// A run before its first step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Started<'a> {
    /// The run's directory.
    pub dir: &'a Path,
    /// Steps in all. Those taken before are the step of the event.
    pub steps: u64,
    /// Numbers that are trained.
    pub parameters: usize,
    /// The data, in a line.
    pub data: &'a str,
    /// The instructions of matrix products of bfloat16, as `RAPPEL_BF16` names them, where the run has any.
    pub bf16_kernel: Option<&'a str>,
    /// The names of the metrics that validations measure, the loss first; empty without validation data.
    pub metrics: &'a [&'a str],
}

/// One optimizer step; the step of its event counts it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Steps in all.
    pub steps: u64,
    /// Training loss of this step's batch, before the step.
    pub loss: f64,
    /// What regularizers added to that loss; none where nothing does.
    pub penalty: Option<f64>,
    /// The learning rate that the step used.
    pub lr: f64,
    /// Global norm of the gradient, before clipping.
    pub grad_norm: f64,
    /// What the loss is a mean over, in the plural, such as `tokens`.
    pub unit: &'static str,
    /// How many of these a second of this step took in.
    pub units_per_second: f64,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq)]
pub enum HParam {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
}

/// What takes time to compute, so that it is made only for a sink that [wants](Sink::wants) it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// [`Event::Histograms`].
    Histograms,
    /// [`Event::Image`] and [`Event::PrCurves`].
    Pictures,
}

/// Somewhere events go.
pub trait Sink {
    /// Takes one event. When this returns, what the sink records of it survives the death of the process.
    ///
    /// # Errors
    /// The system's refusal, such as a full disk. Earlier events are still complete, and the sink can be
    /// tried again.
    fn log(&mut self, at: Moment, event: &Event) -> Result<(), TelemetryError>;

    /// Whether the sink has use for such events at a step, where `since` is the last step before it that
    /// could have had them. Unset: no.
    fn wants(&self, _detail: Detail, _since: u64, _step: u64, _is_last: bool) -> bool {
        false
    }

    /// Defects of the record that was there when the sink was opened. Unset: none.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Waits until all that was logged is on the disk, where it survives the death of the machine. Unset: the
    /// sink keeps nothing.
    ///
    /// # Errors
    /// The system's refusal.
    fn flush(&mut self) -> Result<(), TelemetryError> {
        Ok(())
    }
}

/// Takes every event and keeps nothing.
impl Sink for () {
    fn log(&mut self, _: Moment, _: &Event) -> Result<(), TelemetryError> {
        Ok(())
    }
}
