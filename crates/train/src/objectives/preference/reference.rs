//! The model that answers are compared with, which does not learn.

use std::sync::Arc;

use rappel_config::Options;
use rappel_data::{Dataset, PreferenceBatch, PreferenceSamples, SftBatch};
use rappel_nn::Forward;
use rappel_tensor::Tensor;

use super::log_probs::frozen_sums;
use crate::models::Pretrained;

/// Which model the reference is, under TRL's names.
#[derive(Debug, Clone, PartialEq, Options)]
pub(crate) struct ReferenceOptions {
    /// the model that answers are compared with: a folder, a run, a GGUF file or a name on the Hugging Face Hub; unset: the
    /// model as the run begins, which with an adapter is the model without it
    #[option(aka("reference_model", "ref_model_name_or_path", "model_ref"))]
    pub ref_model: Option<String>,
    /// SHA-256 of its files; the run's own config.toml holds it
    pub ref_sha256: Option<String>,
}

/// Log-probabilities of the rows of some data by a model that is not there any more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Computed {
    /// Those of a sample's answers.
    pub answers: Vec<Vec<f64>>,
}

/// The reference of a run.
#[derive(Debug, Clone)]
pub(crate) enum Reference {
    /// The model that learns, without its adapters.
    WithoutAdapters,
    /// A model of its own.
    Model(Arc<Pretrained>),
    /// What it made of the rows to train on, and of those to validate on.
    Computed(Arc<[Computed; 2]>),
}

/// Samples of a pass that computes log-probabilities of all rows.
const SAMPLES: usize = 4;

impl Computed {
    /// What a reference makes of all samples, by `sums` of a batch.
    pub fn of(data: &PreferenceSamples, sums: impl Fn(&PreferenceBatch) -> Vec<f64>) -> Self {
        let all: Vec<usize> = (0..data.len()).collect();
        let mut answers = Vec::with_capacity(all.len());
        for samples in all.chunks(SAMPLES) {
            let found = sums(&data.batch(samples));
            // Chosen ones come first, then rejected ones.
            let of = |i: usize| found.iter().skip(i).step_by(samples.len()).copied().collect();
            answers.extend((0..samples.len()).map(of));
        }
        Self { answers }
    }
}

impl Reference {
    /// Log-probabilities of the answers of a batch; tokens count `weights` times. `held_out`: it is one to validate on.
    pub fn sums(
        &self,
        policy: &Pretrained,
        batch: &PreferenceBatch,
        weights: Option<&[f64]>,
        held_out: bool,
    ) -> Vec<f64> {
        if let Self::Computed(known) = self {
            let known = &known[usize::from(held_out)].answers;
            let answers = batch.lengths.len() / batch.samples.len().max(1);
            let of = |answer| batch.samples.iter().map(move |sample| known[*sample][answer]);
            return (0..answers).flat_map(of).collect();
        }
        self.of(policy, &batch.answers, batch.lengths.len(), weights)
    }

    /// The same of answers that are no rows, for which nothing is computed before.
    pub fn of(
        &self,
        policy: &Pretrained,
        batch: &SftBatch,
        answers: usize,
        weights: Option<&[f64]>,
    ) -> Vec<f64> {
        let forward = Forward::evaluation();
        match self {
            Self::Model(model) => frozen_sums(model, batch, answers, &forward, weights),
            _ => frozen_sums(policy, batch, answers, &forward.without_adapters(), weights),
        }
    }

    /// Bytes of its parameters.
    pub fn bytes(&self) -> usize {
        let Self::Model(model) = self else { return 0 };
        let entries = crate::Model::params(model.as_ref()).entries();
        entries.iter().map(|entry| entry.shape.count() * entry.dtype.size()).sum()
    }
}

/// `ln(policy / reference)` of answers.
pub(super) fn ratios(policy: &Tensor, reference: &[f64]) -> Vec<f64> {
    policy
        .to_f64_vec()
        .iter()
        .zip(reference)
        .map(|(policy, reference)| policy - reference)
        .collect()
}
