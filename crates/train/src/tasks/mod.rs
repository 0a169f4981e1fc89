//! What can be learned: one file and one line here each.

mod bco;
mod classification;
mod cpo;
mod dpo;
mod embedding;
mod image_classification;
mod kto;
mod language_model;
mod masked_language_model;
mod modular_arithmetic;
mod orpo;
mod preference;
mod rating;
mod recommendation;
mod regression;
mod reward;
mod sequence_classification;
pub(crate) mod sft;
mod shown;
mod simpo;
mod table;

pub use image_classification::{ShownImages, shown_images};
pub use shown::{TuningData, tuning_data};

use std::fmt;

use rappel_config::{ConfigError, Entry, Field, OptionSet, Registry, no_more};
use rappel_data::Drawing;
use toml::Table;

use crate::task::Task;
use crate::{Config, Learner, Objective, Observer, TrainError};

type MakeLearner = dyn Fn(&Config) -> Result<Box<dyn Task>, TrainError>;

/// A task whose data was read: learners are made of it, one for a run, several where runs are compared.
pub struct Prepared {
    /// The config, completed by what only the data knows, such as the size of the vocabulary.
    pub config: Config,
    learner: Box<MakeLearner>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Prepared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Prepared {
    /// A task whose learners are made by `learner`, which shares the data among them.
    pub fn new<O: Objective + 'static>(
        config: Config,
        learner: impl Fn(&Config) -> Result<Learner<O>, TrainError> + 'static,
    ) -> Self {
        let boxed = move |config: &Config| -> Result<Box<dyn Task>, TrainError> {
            Ok(Box::new(learner(config)?))
        };
        Self { config, learner: Box::new(boxed) }
    }

    /// A learner at its start.
    ///
    /// # Errors
    /// What keeps the model from being made.
    pub fn learner(&self) -> Result<Box<dyn Task>, TrainError> {
        (self.learner)(&self.config)
    }
}

/// What a config of a task need not say, because it follows from the rest.
pub(crate) fn complete(task: &str, given: &mut Table) {
    if task == recommendation::ENTRY.name {
        recommendation::complete(given);
    }
}

/// How an entry of [`TASKS`] is prepared: its data is read, nothing is written.
pub type Prepare = fn(&Config, &mut dyn Observer) -> Result<Prepared, TrainError>;

/// Every task of a config's key `task`.
pub static TASKS: Registry<Prepare> = Registry {
    kind: "task",
    common: &[],
    entries: &[
        language_model::ENTRY,
        masked_language_model::ENTRY,
        sft::ENTRY,
        dpo::ENTRY,
        reward::ENTRY,
        kto::ENTRY,
        bco::ENTRY,
        orpo::ENTRY,
        cpo::ENTRY,
        simpo::ENTRY,
        regression::ENTRY,
        classification::ENTRY,
        modular_arithmetic::ENTRY,
        sequence_classification::ENTRY,
        embedding::ENTRY,
        image_classification::ENTRY,
        rating::ENTRY,
        recommendation::ENTRY,
    ],
    more: no_more,
};

/// The task of runs whose dataset, model and objective are a program's own.
pub(crate) static OWN: TaskEntry = TaskEntry {
    name: "own",
    summary: "the learner of a program",
    reference: "",
    fields: &[Field::table("data", Drawing::FIELDS, "in which order samples are drawn")],
    build: |_, _| Err(TrainError::OwnTask),
};

/// The task of this name.
pub(crate) fn task(key: &str, name: &str) -> Result<&'static TaskEntry, ConfigError> {
    if name == OWN.name { Ok(&OWN) } else { TASKS.lookup_at(key, name) }
}

/// A task: its options are the sections of a config that only it has, such as `data` and `model`.
pub type TaskEntry = Entry<Prepare>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_and_registry_agree() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tasks");
        let files = [TASKS.names(), vec!["table", "preference", "shown"]].concat();
        rappel_testkit::assert_folder_matches(&folder, &files);
        rappel_testkit::assert_sound(&TASKS);
    }
}
