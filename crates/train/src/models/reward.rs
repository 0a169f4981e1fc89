//! A language model that gives an answer a reward.

use std::path::Path;
use std::sync::Arc;

use rappel_config::{OptionSet, resolve};
use rappel_data::{Answers, Dataset, PreferenceConfig, Preferences, SftBatch, SftModel, Tokenizer};
use rappel_model::{ModelConfig, ModelFiles, Scorer};
use rappel_nn::Forward;
use rappel_tensor::{Params, Tensor, no_grad};

use super::adapter::Adapter;
use super::kept::KeptFile;
use super::text::tokenizer;
use super::text_parts::TextParts;
use super::{EvaluateOptions, ModelKind, Scores, TrainedModel, inputs, sound};
use crate::metrics::more;
use crate::{Frozen, Model, TrainError};

/// Recognised by the class that its config.json names.
pub(super) const KIND: ModelKind = ModelKind {
    name: "reward_model",
    is_in: |path| ModelFiles::open(path).is_ok_and(|files| files.scores()),
    load: |folder| Ok(Box::new(RewardModel::load(folder)?)),
};

/// A language model with a head that gives an answer behind its prompt a number, and its tokenizer: what a run of the task
/// `reward` leaves in a folder, and transformers' models of that kind with one label.
#[derive(Debug)]
pub struct RewardModel {
    inner: Scorer,
    parts: TextParts,
}

/// Samples of a forward pass without gradients.
const SAMPLES: usize = 4;

impl RewardModel {
    pub(super) fn new(
        inner: Scorer,
        tokenizer: Tokenizer,
        folder: &Path,
    ) -> Result<Self, TrainError> {
        sound::check_finite(folder, &inner.params)?;
        Ok(Self { inner, parts: TextParts::new(tokenizer, KeptFile::all(folder)?) })
    }

    /// Reads a folder with config.json, model.safetensors and tokenizer.json.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        let inner = Scorer::load(folder)?;
        let tokenizer = tokenizer(folder, inner.model.config().vocab_size(), None)?;
        Self::new(inner, tokenizer, folder)
    }

    /// The same model, of which `adapter` is trained and saved, where there is one, and of which what is not trained stays
    /// as files with this hash have it.
    pub(super) fn trained(self, adapter: Option<Adapter>, sha256: &str) -> Self {
        let frozen = Frozen::of(&self.inner.params, sha256);
        Self { parts: TextParts { adapter, frozen, ..self.parts }, ..self }
    }

    /// Gives it another token that ends a text.
    pub(crate) fn set_eos(&mut self, id: u32) {
        self.inner.eos_token_id = vec![id];
    }

    /// The config of the language model.
    pub(crate) fn config(&self) -> &dyn ModelConfig {
        self.inner.model.config()
    }

    /// The rewards `[answers]`, and the model's own loss.
    pub(crate) fn scores(&self, batch: &SftBatch, forward: &Forward) -> (Tensor, Option<Tensor>) {
        let (ids, documents) = inputs(batch);
        let of = &batch.segment_ids;
        let is_last = |at: &usize| of.get(at + 1) != Some(&of[*at]);
        let ends: Vec<i64> = (0..of.len()).filter(is_last).map(|at| at as i64).collect();
        let ends = Tensor::from_slice(&ends, [ends.len()]);
        self.inner.scores(&ids, &documents, &ends, forward)
    }
}

impl Model for RewardModel {
    fn params(&self) -> &Params {
        &self.inner.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.inner.params
    }

    fn frozen(&self) -> Option<Arc<Frozen>> {
        self.parts.frozen.clone()
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.parts.save(&self.inner.params, folder, || Ok(self.inner.save(folder)?))
    }

    fn lr_factors(&self) -> Vec<(String, f64)> {
        self.parts.lr_factors()
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.parts.fingerprint())
    }
}

impl TrainedModel for RewardModel {
    fn kind(&self) -> &'static str {
        "a reward model"
    }

    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError> {
        if *options != EvaluateOptions::default() {
            let advice = "pairs of answers have no other options; leave them out".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let name = file.to_str().ok_or_else(|| TrainError::Name { path: file.to_owned() })?;
        let given = toml::Table::from_iter([
            ("files".to_owned(), vec![name].into()),
            ("validation_fraction".to_owned(), 0.0.into()),
        ]);
        let options = resolve("data", PreferenceConfig::FIELDS, &given)?;
        let config = PreferenceConfig::from_options(&options)?;
        let model = SftModel {
            tokenizer: &self.parts.tokenizer,
            stops: &self.inner.eos_token_id,
            positions: self.config().max_positions(),
        };
        let data = Preferences::build(&config, Answers::Scored, 0, &model)?.training;
        let (mut right, mut margin) = (0, 0.0);
        let all: Vec<usize> = (0..data.len()).collect();
        for samples in all.chunks(SAMPLES) {
            let batch = data.batch(samples);
            let scores = no_grad(|| self.scores(&batch.answers, &Forward::evaluation()).0);
            let scores = scores.to_f64_vec();
            let (chosen, rejected) = scores.split_at(samples.len());
            for (chosen, rejected) in chosen.iter().zip(rejected) {
                right += usize::from(chosen > rejected);
                margin += chosen - rejected;
            }
        }
        let count = data.len();
        let values = vec![
            (more("accuracy"), right as f64 / count as f64),
            (more("margin"), margin / count as f64),
        ];
        Ok(Scores { values, unit: "pairs", count, notes: Vec::new() })
    }
}
