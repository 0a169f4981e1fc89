//! What can be learned: one file and one line here each.

mod classification;
mod language_model;
mod modular_arithmetic;
mod regression;

use std::path::Path;

use rappel_data::Order;
use rappel_registry::{Entry, Registry, no_more};
use rappel_tensor::{Params, Tensor};

use crate::{Baseline, Config, Metric, Observer, Pass, TrainError};

/// A model with its data and its loss: what the loop asks, whatever is learned.
///
/// All of it is a pure function of the config, the parameters and the step.
pub trait Task {
    /// What is trained.
    fn params(&self) -> &Params;

    /// What is trained, to change.
    fn params_mut(&mut self) -> &mut Params;

    /// Which samples of the training data each step takes: [`Config::order`] of their number.
    fn order(&self) -> &Order;

    /// A print of the data: a resumed run compares it with the first one's.
    fn fingerprint(&self) -> String;

    /// The data in a line.
    fn describe(&self) -> String;

    /// What the loss is a mean over and speed is told in, in the plural: `tokens`, `rows`.
    fn unit(&self) -> &'static str;

    /// How many of these step `step` takes in, counted from 0.
    fn units(&self, step: u64) -> usize;

    /// Bytes that a forward and backward pass of so many samples takes at most, beside parameters, their
    /// gradients and the data; with R-Drop that is two passes, whose outputs are in memory whole. Known before
    /// anything of it is allocated.
    fn activation_bytes(&self, samples: usize, r_drop: bool) -> usize;

    /// The loss of one part of a step's batch, times the part's share of the step's units: the parts
    /// add up to the mean over all units of the step. None where the part is empty.
    fn loss(&self, pass: &Pass) -> Option<Tensor>;

    /// Why a regularizer of forward passes or losses, by its name, would do nothing, or wrong; so that
    /// it is an error of the config.
    ///
    /// # Errors
    /// The reason. By default the task knows of none.
    fn honours(&self, _regularizer: &str) -> Result<(), &'static str> {
        Err("the task has nothing that it could act on; leave it out")
    }

    /// What a validation measures, the loss first.
    fn metrics(&self) -> &'static [Metric];

    /// Whether there is validation data.
    fn validates(&self) -> bool;

    /// The values of the [`metrics`](Task::metrics) over the validation data, in their order; none
    /// where there is no such data.
    fn validate(&self) -> Option<Vec<f64>>;

    /// What of a step's forward passes is not finite first; none where only the loss is.
    fn first_non_finite_activation(&self, passes: &[Pass]) -> Option<String>;

    /// Writes the model, with all that its users need, into a folder.
    ///
    /// # Errors
    /// The system's refusals.
    fn save(&self, folder: &Path) -> Result<(), TrainError>;

    /// A simple model of the same kind on the validation data; none where there is no such data. What
    /// takes time is told to the observer.
    ///
    /// # Errors
    /// What keeps it from being fitted.
    fn baseline(&self, observer: &mut dyn Observer) -> Result<Option<Baseline>, TrainError>;

    /// Something that the trained model made, to look at. What takes time is told to the observer.
    ///
    /// # Errors
    /// What keeps it from being made.
    fn sample(&self, observer: &mut dyn Observer) -> Result<Option<String>, TrainError>;
}

/// How an entry of [`TASKS`] is built: its data is read and its model made, nothing is written.
///
/// It returns the config completed by what only the data knows, such as the size of the vocabulary.
pub type Build = fn(&Config, &mut dyn Observer) -> Result<(Box<dyn Task>, Config), TrainError>;

/// Every task of a config's key `task`.
pub static TASKS: Registry<Build> = Registry {
    kind: "task",
    common: &[],
    entries: &[
        language_model::ENTRY,
        regression::ENTRY,
        classification::ENTRY,
        modular_arithmetic::ENTRY,
    ],
    more: no_more,
};

/// A task: its options are the sections of a config that only it has, such as `data` and `model`.
pub type TaskEntry = Entry<Build>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_and_registry_agree() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tasks");
        rappel_registry::assert_folder_matches(&folder, &TASKS.names());
        rappel_registry::assert_sound(&TASKS);
    }
}
