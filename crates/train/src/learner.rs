//! A learner: a dataset, a model and an objective, which is all that a run needs of a modality.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rappel_data::{Dataset, HeldOut};
use rappel_files::create;
use rappel_regularize::ActsOn;
use rappel_tensor::{Params, Tensor, no_grad, write_tensors_to};

use crate::task::Task;
use crate::{Baseline, Metric, Newest, Objective, Observer, Pass, Show, TrainError, Verdict};

/// A model that is trained, and how it is kept.
pub trait Model {
    /// Its parameters.
    fn params(&self) -> &Params;

    /// Its parameters, to change.
    fn params_mut(&mut self) -> &mut Params;

    /// Writes the model, with all that its users need, into a folder. Unset: `model.safetensors`.
    ///
    /// # Errors
    /// The system's refusals.
    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let weights = self.params().merged();
        let path = folder.join("model.safetensors");
        Ok(create(&path, |out| write_tensors_to(out, weights, &BTreeMap::new()))?)
    }

    /// Parameters that stay as they are in files which the config names; checkpoints do without them. Unset: none.
    fn frozen(&self) -> Option<Arc<Frozen>> {
        None
    }

    /// Globs of parameters' names, and how many times the optimizer's learning rate is theirs. Unset: none.
    fn lr_factors(&self) -> Vec<(String, f64)> {
        Vec::new()
    }

    /// What of the model belongs to the data, such as a hash of its tokenizer: a run is only resumed with
    /// the same. Unset: nothing.
    fn fingerprint(&self) -> Option<String> {
        None
    }
}

/// Parameters that stay as they are in files, which a run reads again each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// A hash of the files.
    pub sha256: String,
    /// Their names.
    pub names: BTreeSet<String>,
}

impl Frozen {
    /// Those of a model that are not trained, if there are any, which files with this hash hold.
    pub(crate) fn of(params: &Params, sha256: &str) -> Option<Arc<Self>> {
        let entries = params.entries().into_iter().filter(|entry| !entry.trainable);
        let names: BTreeSet<String> = entries.map(|entry| entry.name).collect();
        (!names.is_empty()).then(|| Arc::new(Self { sha256: sha256.to_owned(), names }))
    }
}

/// A dataset, a model and an objective.
///
/// The tasks of a config are learners, and so is what a program puts together; see [`Run::own`](crate::Run::own).
#[derive(Debug)]
pub struct Learner<O: Objective> {
    model: O::Model,
    data: Arc<O::Data>,
    objective: O,
    held_out: Option<HeldOut<O::Data>>,
    test: Option<HeldOut<O::Data>>,
}

impl<O: Objective> Learner<O> {
    /// A learner that trains on `data`.
    pub fn new(model: O::Model, data: impl Into<Arc<O::Data>>, objective: O) -> Self {
        Self { model, data: data.into(), objective, held_out: None, test: None }
    }

    /// The same learner with data to validate on, if there is any.
    #[must_use]
    pub fn held_out(self, held_out: Option<HeldOut<O::Data>>) -> Self {
        Self { held_out, ..self }
    }

    /// The same learner with data to test on once, at the end of a run, if there is any.
    #[must_use]
    pub fn test(self, test: Option<HeldOut<O::Data>>) -> Self {
        Self { test, ..self }
    }
}

impl<O: Objective> Task for Learner<O> {
    fn params(&self) -> &Params {
        self.model.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.model.params_mut()
    }

    fn frozen(&self) -> Option<Arc<Frozen>> {
        self.model.frozen()
    }

    fn samples(&self) -> usize {
        self.data.len()
    }

    fn fingerprint(&self) -> String {
        let held_out = self.held_out.as_ref().map(|held_out| held_out.data().fingerprint());
        let test = self.test.as_ref().map(|test| test.data().fingerprint());
        let all = [Some(self.data.fingerprint()), held_out, test, self.model.fingerprint()];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn describe(&self) -> String {
        let held_out = self.held_out.as_ref().map_or(0, |held_out| held_out.data().size());
        let test = self.test.as_ref().map(|test| format!(", {} to test", test.data().size()));
        let sizes = format!(
            "{} {} to train on, {held_out} to validate{}",
            self.data.size(),
            self.data.unit(),
            test.unwrap_or_default()
        );
        let mut details = self.data.details().into_iter();
        let first = [Some(sizes), details.next()].into_iter().flatten().collect::<Vec<_>>();
        let notes = self.held_out.iter().flat_map(|held_out| held_out.data().details());
        [first.join(", ")]
            .into_iter()
            .chain(details)
            .chain(notes)
            .collect::<Vec<_>>()
            .join("\n            ")
    }

    fn lr_factors(&self) -> Vec<(String, f64)> {
        self.model.lr_factors()
    }

    fn unit(&self) -> &'static str {
        self.data.unit()
    }

    fn units(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> usize {
        self.data.units(samples)
    }

    fn weight(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> f64 {
        self.objective.weight(&self.data, samples)
    }

    fn loss(&self, samples: &[usize], weight: f64, pass: &Pass) -> Tensor {
        self.objective.loss(&self.model, &self.data.batch(samples), weight, pass)
    }

    fn solve(&mut self) -> Option<f64> {
        self.objective.solve(&mut self.model, &self.data)
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        self.objective.figures()
    }

    fn first_doubt(&self, samples: &[usize]) -> Option<String> {
        self.objective.first_doubt(&self.model, &self.data.batch(samples))
    }

    fn review(&self, newest: &Newest<'_>) -> Verdict {
        self.objective.review(newest)
    }

    fn activation_bytes(&self, samples: usize, r_drop: bool) -> usize {
        self.objective.activation_bytes(&self.model, &self.data, samples, r_drop)
    }

    fn honours(&self, on: ActsOn) -> Result<(), &'static str> {
        self.objective.honours(&self.model, on)
    }

    fn metrics(&self) -> &'static [Metric] {
        self.objective.metrics(&self.model)
    }

    fn validates(&self) -> bool {
        self.held_out.is_some()
    }

    fn validate(&self) -> Option<Vec<f64>> {
        Some(self.objective.evaluate(&self.model, self.held_out.as_ref()?))
    }

    fn test(&self) -> Option<Vec<f64>> {
        Some(self.objective.evaluate(&self.model, self.test.as_ref()?))
    }

    fn protocol(&self) -> Option<String> {
        let measures = self.held_out.is_some() || self.test.is_some();
        self.objective.protocol(&self.model).filter(|_| measures)
    }

    fn show(&self, show: &mut Show) -> Result<(), TrainError> {
        match &self.held_out {
            Some(held_out) => self.objective.show(&self.model, held_out, show),
            None => Ok(()),
        }
    }

    fn show_training(&self, seed: u64, show: &mut Show) -> Result<(), TrainError> {
        self.objective.show_training(&self.model, &self.data, seed, show)
    }

    fn first_non_finite_activation(&self, samples: &[usize], pass: &Pass) -> Option<String> {
        let batch = self.data.batch(samples);
        no_grad(|| {
            let (name, of) = self.objective.activations(&self.model, &batch, &pass.forward)?;
            of.first_non_finite().map(|place| format!("{name}, at {place}"))
        })
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.model.save(folder)
    }

    fn baseline(&self, observer: &mut dyn Observer) -> Result<Option<Baseline>, TrainError> {
        match &self.held_out {
            Some(held_out) => self.objective.baseline(&self.model, &self.data, held_out, observer),
            None => Ok(None),
        }
    }

    fn sample(&self, observer: &mut dyn Observer) -> Result<Option<String>, TrainError> {
        self.objective.sample(&self.model, self.held_out.as_ref(), observer)
    }
}
