//! What a run came to.

use std::path::PathBuf;

use crate::Metric;
use crate::metrics::less;

/// How a call of [`Run::train`](crate::Run::train) ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// All steps are done and the model is written.
    Finished(Report),
    /// The observer asked to stop; a checkpoint holds all there is.
    Stopped {
        /// Steps taken.
        step: u64,
        /// The directory to resume.
        dir: PathBuf,
    },
}

/// What a finished run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The run's directory.
    pub dir: PathBuf,
    /// The folder of the trained model.
    pub model: PathBuf,
    /// Steps taken.
    pub steps: u64,
    /// The mean training loss of the last steps, a hundred at most.
    pub train_loss: f64,
    /// The step whose model was kept, where that is the best one.
    pub best_step: Option<u64>,
    /// What the model of the end came to on the validation data, the loss first; nothing without
    /// such data.
    pub validation: Vec<(Metric, f64)>,
    /// The same on the test data, which nothing else looks at; nothing without such data.
    pub test: Vec<(Metric, f64)>,
    /// How the metrics were measured, where that is not plain from their names.
    pub protocol: Option<String>,
    /// A simple model fitted to the training data, on the same validation data.
    pub baseline: Option<Baseline>,
    /// Something that the trained model made.
    pub sample: Option<String>,
}

impl Report {
    /// The validation loss; none without validation data.
    pub fn validation_loss(&self) -> Option<f64> {
        self.validation.first().map(|(_, loss)| *loss)
    }
}

/// A simple model that a trained one has to beat.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// What it is, in a word.
    pub name: &'static str,
    /// What it comes to on the validation data.
    pub values: Vec<(Metric, f64)>,
}

impl Baseline {
    /// A model of which only the loss is measured.
    pub fn of_loss(name: &'static str, loss: f64) -> Self {
        Self { name, values: vec![(less("loss"), loss)] }
    }

    /// Each value with the baseline's name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Metric, f64)> {
        self.values.iter().map(|(metric, value)| (self.name, *metric, *value))
    }
}
