//! What a run asks of a learner, whatever it learns.

use std::path::Path;
use std::sync::Arc;

use rappel_regularize::ActsOn;
use rappel_tensor::{Params, Tensor};

use crate::{Baseline, Frozen, Metric, Newest, Observer, Pass, Show, TrainError, Verdict};

/// A [`Learner`](crate::Learner) of any dataset, model and objective; see there and at these for what each
/// method means.
pub trait Task {
    /// Its model's parameters.
    fn params(&self) -> &Params;
    /// Its model's parameters, to change.
    fn params_mut(&mut self) -> &mut Params;
    /// Parameters that checkpoints do without.
    fn frozen(&self) -> Option<Arc<Frozen>> {
        None
    }
    /// Globs of parameters' names, and how many times the optimizer's learning rate is theirs.
    fn lr_factors(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
    /// The number of samples to train on.
    fn samples(&self) -> usize;
    /// A hash of the data.
    fn fingerprint(&self) -> String;
    /// The data in a line, then its notes.
    fn describe(&self) -> String;
    /// What the size of data is counted in, in the plural.
    fn unit(&self) -> &'static str;
    /// The number of units of some samples.
    fn units(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> usize;
    /// What the loss of some samples is divided by.
    fn weight(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> f64;
    /// The loss of some samples, its sum divided by `weight`.
    fn loss(&self, samples: &[usize], weight: f64, pass: &Pass) -> Tensor;
    /// A step that is not by gradients, and its loss.
    fn solve(&mut self) -> Option<f64> {
        None
    }
    /// What is recorded of training batches beside their loss, as means over those since it was last asked.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
    /// What looks wrong with the model before its first step, by some samples.
    fn first_doubt(&self, _samples: &[usize]) -> Option<String> {
        None
    }
    /// Whether the run learns anything, judged after each step.
    fn review(&self, _newest: &Newest<'_>) -> Verdict {
        Verdict::Fine
    }
    /// Bytes that a forward and backward pass of so many samples takes at most, beside parameters, their
    /// gradients and the data; with R-Drop that is two passes, whose outputs are in memory as a whole. Known
    /// before anything of it is allocated.
    fn activation_bytes(&self, samples: usize, r_drop: bool) -> usize;
    /// Whether a regularizer has anything to act on.
    ///
    /// # Errors
    /// The reason why not.
    fn honours(&self, on: ActsOn) -> Result<(), &'static str>;
    /// What a validation measures, the loss first.
    fn metrics(&self) -> &'static [Metric];
    /// Whether there is validation data.
    fn validates(&self) -> bool;
    /// The values of the metrics; none without validation data.
    fn validate(&self) -> Option<Vec<f64>>;
    /// The values of the metrics on the test data; none without such data.
    fn test(&self) -> Option<Vec<f64>>;
    /// How the metrics are measured, where that is not plain from their names.
    fn protocol(&self) -> Option<String>;
    /// Shows pictures and curves of the validation data, if there is any.
    ///
    /// # Errors
    /// Those of `show`.
    fn show(&self, show: &mut Show) -> Result<(), TrainError>;
    /// Shows pictures of what is trained on, if there are any.
    ///
    /// # Errors
    /// Those of `show`.
    fn show_training(&self, _seed: u64, _show: &mut Show) -> Result<(), TrainError> {
        Ok(())
    }
    /// What of a forward pass is not finite first; none where only the loss is, or nobody knows.
    fn first_non_finite_activation(&self, samples: &[usize], pass: &Pass) -> Option<String>;
    /// Writes the model into a folder.
    ///
    /// # Errors
    /// The system's refusals.
    fn save(&self, folder: &Path) -> Result<(), TrainError>;
    /// A simple model for comparison.
    ///
    /// # Errors
    /// What keeps it from being fitted.
    fn baseline(&self, observer: &mut dyn Observer) -> Result<Option<Baseline>, TrainError>;
    /// Something that the trained model made.
    ///
    /// # Errors
    /// What keeps it from being made.
    fn sample(&self, observer: &mut dyn Observer) -> Result<Option<String>, TrainError>;
}
