//! A trained model of ratings, in memory and in a folder.

mod folder;
mod metrics;

use std::path::Path;
use std::sync::Arc;

use rappel_config::{OptionSet, Options};
use rappel_data::{Dataset, InteractionOptions, RatedBatch, RatedRows, RatingFields};
use rappel_model::{FieldBatch, FieldSizes, RATERS, Rated, Rater, RaterConfig, RaterOptions};
use rappel_nn::Forward;
use rappel_tensor::{DType, Params, no_grad};
use sha2::{Digest, Sha256};

use super::{EvaluateOptions, ModelKind, PredictOptions, Predictions, Scores, TrainedModel};
use crate::{Metric, Model, TrainError};

pub(crate) use metrics::gauc_doubt;

/// Recognised by its fields.
pub(super) const KIND: ModelKind = ModelKind {
    name: "rater",
    is_in: |folder| folder.join(folder::FIELDS).exists(),
    load: |folder| Ok(Box::new(RaterModel::load(folder)?)),
};

/// Interactions of a pass without gradients.
const ROWS: usize = 4096;

/// A model of ratings with the fields that it reads: what a run of the task `rating` leaves in a folder.
#[derive(Debug)]
pub struct RaterModel {
    rater: Box<dyn Rater>,
    config: Box<dyn RaterConfig>,
    sizes: FieldSizes,
    params: Params,
    section: Options,
    fields: Arc<RatingFields>,
    columns: InteractionOptions,
}

impl RaterModel {
    /// A model whose outputs begin at `start`.
    pub(crate) fn new(
        section: &Options,
        fields: Arc<RatingFields>,
        columns: InteractionOptions,
        start: f64,
        params: impl FnOnce(DType) -> Result<Params, TrainError>,
    ) -> Result<Self, TrainError> {
        let entry = RATERS.lookup_at("model.name", section.name())?;
        let config = (entry.build)(section)?;
        let RaterOptions { dtype, sparse } = RaterOptions::from_options(section)?;
        let sizes = FieldSizes {
            rows: fields.rows(),
            slots: fields.fields.iter().map(rappel_data::Field::slots).collect(),
            numbers: fields.fields.iter().map(rappel_data::Field::is_number).collect(),
            start,
            dtype,
            sparse,
        };
        let mut params = params(dtype)?;
        let rater = config.build(&mut params, &sizes);
        Ok(Self { rater, config, sizes, params, section: section.clone(), fields, columns })
    }

    /// What it reads.
    pub fn fields(&self) -> &Arc<RatingFields> {
        &self.fields
    }

    /// Whether it predicts what is liked, not ratings.
    pub fn predicts_likes(&self) -> bool {
        self.fields.threshold.is_some()
    }

    pub(crate) fn has_dropout(&self) -> bool {
        self.rater.has_dropout()
    }

    /// Bytes that a sample takes in a forward and backward pass.
    pub(crate) fn activation_bytes(&self) -> usize {
        self.config.numbers_per_sample(&self.sizes).saturating_mul(self.sizes.dtype.size())
    }

    pub(crate) fn forward(&self, batch: &RatedBatch, forward: &Forward) -> Rated {
        let weights = batch.weights.to_dtype(self.sizes.dtype);
        self.rater.forward(&FieldBatch { ids: batch.ids.clone(), weights }, forward)
    }

    /// Its outputs for all of some interactions, without gradients.
    pub(crate) fn outputs(&self, rows: &RatedRows) -> Vec<f64> {
        let part = |first: usize| {
            let last = (first + ROWS).min(rows.len());
            let batch = rows.batch(&(first..last).collect::<Vec<_>>());
            self.forward(&batch, &Forward::evaluation()).outputs.to_f64_vec()
        };
        no_grad(|| (0..rows.len()).step_by(ROWS).flat_map(part).collect())
    }

    /// What outputs say: ratings within the range of those of the training, or the probability that an item is liked.
    pub(crate) fn predictions(&self, outputs: &[f64]) -> Vec<f64> {
        let [least, most] = self.fields.range;
        if self.predicts_likes() {
            outputs.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect()
        } else {
            outputs.iter().map(|rating| rating.clamp(least, most)).collect()
        }
    }

    /// The metrics, the loss first.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        if self.predicts_likes() { metrics::LIKES } else { metrics::RATINGS }
    }

    /// Their values but the loss, of interactions whose outputs these are.
    pub(crate) fn score(&self, outputs: &[f64], rows: &RatedRows) -> Vec<f64> {
        let told = self.predictions(outputs);
        if self.predicts_likes() {
            metrics::likes(&told, rows.targets(), rows.users())
        } else {
            metrics::ratings(&told, rows.targets())
        }
    }
}

impl Model for RaterModel {
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
        let fields = serde_json::to_vec(&*self.fields).expect("fields are JSON");
        Some(rappel_files::hex(&Sha256::digest(fields)))
    }
}

impl TrainedModel for RaterModel {
    fn kind(&self) -> &'static str {
        "a model of ratings"
    }

    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError> {
        if *options != EvaluateOptions::default() {
            let advice = "leave out --window, --stride, --text-field and --label-field".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let file = self.fields.read_more(&self.columns, file, true)?;
        let places: Vec<usize> = (0..file.read.len()).collect();
        let rows = RatedRows::new(&self.fields, &file, &places);
        let values = self.score(&self.outputs(&rows), &rows);
        let values = self.metrics()[1..].iter().copied().zip(values).collect();
        let doubt =
            self.predicts_likes().then(|| gauc_doubt(rows.targets(), rows.users())).flatten();
        let notes = file.notes.into_iter().chain(doubt).collect();
        Ok(Scores { values, unit: "ratings", count: rows.len(), notes })
    }

    /// `user`, `item` and `prediction` for each row.
    fn predict_on(&self, path: &Path, options: &PredictOptions) -> Result<Predictions, TrainError> {
        if *options != PredictOptions::default() {
            let advice = "leave out --id, --text-field and --top-k".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let file = self.fields.read_more(&self.columns, path, false)?;
        let places: Vec<usize> = (0..file.read.len()).collect();
        let rows = RatedRows::new(&self.fields, &file, &places);
        let told = self.predictions(&self.outputs(&rows));
        let names = file.names;
        let row = |([user, item], told): ([String; 2], f64)| vec![user, item, told.to_string()];
        let rows = names.into_iter().zip(told).map(row).collect();
        let columns = ["user", "item", "prediction"].map(str::to_owned).to_vec();
        Ok(Predictions { columns, rows, notes: file.notes })
    }
}
