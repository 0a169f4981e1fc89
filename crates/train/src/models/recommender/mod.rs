//! A trained recommender, in memory and in a folder.

mod folder;
mod metrics;
mod rank;
mod recommend;

use std::path::Path;
use std::sync::Arc;

use rappel_config::Options;
use rappel_data::{Histories, Ids, InteractionOptions, Interactions, Known, RecommendationData};
use rappel_files::hex;
use rappel_model::{RECOMMENDERS, Recommender, Sizes, TakenItems, Users, recommender_dtype};
use rappel_nn::Forward;
use rappel_tensor::{DType, Params, Tensor, no_grad};
use sha2::{Digest, Sha256};

use super::{EvaluateOptions, ModelKind, PredictOptions, Predictions, Scores, TrainedModel};
use crate::{Metric, Model, TrainError};
use rank::Ranking;
pub(crate) use rank::{RETRIEVAL, retrieval};
pub(crate) use recommend::beside_zero;

pub use rank::{Candidates, EvaluationOptions};

/// Recognised by the interactions that it knows.
pub(super) const KIND: ModelKind = ModelKind {
    name: "recommender",
    is_in: |folder| folder.join(folder::HISTORIES).exists(),
    load: |folder| Ok(Box::new(RecommenderModel::load(folder)?)),
};

/// A recommender with the users and items that it knows, and what each user took: what a run of the task `recommendation`
/// leaves in a folder.
#[derive(Debug)]
pub struct RecommenderModel {
    recommender: Box<dyn Recommender>,
    params: Params,
    dtype: DType,
    /// What one pass takes for each sample and item that is scored.
    config: Box<dyn rappel_model::RecommenderConfig>,
    section: Options,
    catalogue: Arc<Catalogue>,
    evaluation: EvaluationOptions,
    metrics: &'static [Metric],
}

/// Who there is, what there is, and who took what.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// The users.
    pub users: Ids,
    /// The items.
    pub items: Ids,
    /// What each user took, as far as the model may know.
    pub histories: Arc<Histories>,
    /// How files of interactions are read.
    pub columns: InteractionOptions,
    /// Interactions of a lower rating do not count.
    pub min_rating: Option<f64>,
}

impl RecommenderModel {
    pub(crate) fn new(
        section: &Options,
        evaluation: EvaluationOptions,
        catalogue: Arc<Catalogue>,
        params: impl FnOnce(DType) -> Result<Params, TrainError>,
    ) -> Result<Self, TrainError> {
        let entry = RECOMMENDERS.lookup_at("model.name", section.name())?;
        let (config, dtype) = ((entry.build)(section)?, recommender_dtype(section)?);
        let mut params = params(dtype)?;
        let (users, items) = (catalogue.users.len(), catalogue.items.len());
        let recommender = config.build(&mut params, Sizes { users, items, dtype });
        let section = section.clone();
        let metrics = metrics::metrics(&evaluation.k);
        Ok(Self { recommender, params, dtype, config, section, catalogue, evaluation, metrics })
    }

    /// The model itself.
    pub(crate) fn recommender(&self) -> &dyn Recommender {
        &*self.recommender
    }

    /// A sweep over what was `taken`, of a model that is trained so, and its loss.
    pub(crate) fn sweep(&mut self, taken: &TakenItems) -> Option<f64> {
        let alternating = self.recommender.alternating()?;
        Some(alternating.sweep(&mut self.params, taken))
    }

    /// Bytes that a sample takes in a forward and backward pass where so many items are scored for it.
    pub(crate) fn activation_bytes(&self, scored: usize) -> usize {
        self.config.numbers_per_sample(scored).saturating_mul(self.dtype.size())
    }

    /// The type that it computes in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Who and what it knows.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The metrics, the loss first.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        self.metrics
    }

    /// How it is measured.
    pub(crate) fn evaluation(&self) -> &EvaluationOptions {
        &self.evaluation
    }

    /// The values of the metrics but the loss, for the items of `data`.
    pub(crate) fn measure(&self, data: &RecommendationData) -> Vec<f64> {
        let known = data.known();
        let forward = Forward::evaluation();
        let items = no_grad(|| self.recommender.all_items(&forward));
        let scores = |users: &[u32]| {
            let histories: Vec<&[u32]> = users.iter().map(|u| known.of(*u as usize)).collect();
            let of = Users { ids: users, histories: &histories };
            recommend::scores(&self.recommender.users(&of, &forward), &items)
        };
        self.ranking(data).measure(&scores)
    }

    /// The same of a model that recommends to everybody what was taken most.
    pub(crate) fn measure_popularity(&self, data: &RecommendationData) -> Vec<f64> {
        let counts = self.popularity();
        let row = Tensor::from_slice(&counts, [1, counts.len()]);
        let scores = |users: &[u32]| row.broadcast_to([users.len(), counts.len()]).contiguous();
        self.ranking(data).measure(&scores)
    }

    fn ranking<'a>(&'a self, data: &'a RecommendationData) -> Ranking<'a> {
        Ranking {
            wanted: data.positives(),
            known: data.known(),
            items: self.catalogue.items.len(),
            options: &self.evaluation,
        }
    }

    /// How often each item was taken.
    fn popularity(&self) -> Vec<f32> {
        let counts = self.catalogue.histories.popularity(self.catalogue.items.len());
        counts.into_iter().map(|count| count as f32).collect()
    }
}

impl Model for RecommenderModel {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        folder::save(self, folder)
    }

    fn fingerprint(&self) -> Option<String> {
        let mut hash = Sha256::new();
        for ids in [&self.catalogue.users, &self.catalogue.items] {
            for name in ids.iter() {
                hash.update((name.len() as u64).to_le_bytes());
                hash.update(name);
            }
        }
        Some(hex(&hash.finalize()))
    }
}

impl TrainedModel for RecommenderModel {
    fn kind(&self) -> &'static str {
        "a recommender"
    }

    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError> {
        if *options != EvaluateOptions::default() {
            let advice = "leave out --window, --stride, --text-field and --label-field".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let Catalogue { users, items, histories, columns, min_rating } = &*self.catalogue;
        let known = Known { users, items, keeps_others: false };
        let read = Interactions::read(columns, file, *min_rating, Some(known))?;
        let wanted = Arc::new(read.by_user());
        let data = RecommendationData::new(wanted, histories.clone(), items.len());
        let values = self.metrics[1..].iter().copied().zip(self.measure(&data)).collect();
        let protocol = self.evaluation.describe(items.len());
        let notes = read.notes.iter().cloned().chain([protocol]).collect();
        Ok(Scores { values, unit: "interactions", count: read.len(), notes })
    }

    fn predict_on(&self, file: &Path, options: &PredictOptions) -> Result<Predictions, TrainError> {
        if !options.ids.is_empty() || options.text_field.is_some() {
            let advice = "leave out --id and --text-field".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        recommend::predict(self, file, options.top_k.unwrap_or(10))
    }
}
