//! What a run came to.

use std::path::PathBuf;

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

/// What a finished run came to. Losses are in nats per token.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The run's directory.
    pub dir: PathBuf,
    /// The folder of the trained model.
    pub model: PathBuf,
    /// Steps in all.
    pub steps: u64,
    /// The mean training loss of the last steps, a hundred at most.
    pub train_loss: f64,
    /// The validation loss; none without validation data.
    pub validation_loss: Option<f64>,
    /// The loss of a simple model fitted to the training data, on the same validation data.
    pub baseline_loss: Option<f64>,
    /// Something that the trained model made.
    pub sample: Option<String>,
}
