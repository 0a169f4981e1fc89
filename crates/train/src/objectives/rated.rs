//! How users rate items, or whether they like them.

use rappel_config::{Options, Words};
use rappel_data::{Dataset, HeldOut, RatedBatch, RatedRows};
use rappel_nn::Forward;
use rappel_regularize::ActsOn;
use rappel_tensor::{CrossEntropy, Tensor, cross_entropy};

use super::Objective;
use crate::models::{RaterModel, beside_zero};
use crate::{Baseline, Metric, Observer, Pass, TrainError};

/// What an error costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum RatingCost {
    /// `(y - t)^2`
    Mse,
    /// `|y - t|`
    Mae,
    /// `-ln p(liked or not)`
    Bce,
}

/// The section `loss` of the task `rating`.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct RatedOptions {
    /// the mean of (y - t)^2, of |y - t|, or of -ln p; unset: mse, or bce with a data.threshold
    #[option(aka("kind", "type"))]
    pub name: Option<RatingCost>,
    /// times the squares of the rows that each sample looks up, biases included
    ///
    /// Surprise's `reg_all` is this, since its loss is half of the squares, too.
    #[option(default = 0.0, range = 0.0.., aka("reg_all", "reg", "embedding_regularizer"))]
    pub l2: f64,
}

/// The mean cost over interactions.
#[derive(Debug, Clone)]
pub struct RatedPairs {
    cost: RatingCost,
    l2: f64,
    protocol: String,
    /// The mean of the targets in training.
    mean: f64,
}

impl RatedPairs {
    /// Of interactions whose targets have this mean.
    pub(crate) fn new(cost: RatingCost, l2: f64, protocol: String, mean: f64) -> Self {
        Self { cost, l2, protocol, mean }
    }

    /// The sum of what outputs cost.
    fn sum(&self, outputs: &Tensor, targets: &[f64], label_smoothing: f64) -> Tensor {
        if self.cost == RatingCost::Bce {
            let labels: Vec<i64> = targets.iter().map(|target| *target as i64).collect();
            let labels = Tensor::from_slice(&labels, [labels.len()]);
            let options =
                CrossEntropy { denominator: Some(1.0), label_smoothing, ..CrossEntropy::default() };
            return cross_entropy(&beside_zero(outputs), &labels, &options);
        }
        let targets = Tensor::from_slice(targets, [targets.len()]).to_dtype(outputs.dtype());
        let residuals = outputs - &targets;
        if self.cost == RatingCost::Mae { residuals.abs().sum() } else { residuals.square().sum() }
    }
}

impl Objective for RatedPairs {
    type Data = RatedRows;
    type Model = RaterModel;

    fn loss(&self, model: &RaterModel, batch: &RatedBatch, weight: f64, pass: &Pass) -> Tensor {
        let told = model.forward(batch, &pass.forward);
        let loss = self.sum(&told.outputs, &batch.targets, pass.terms.label_smoothing);
        if self.l2 == 0.0 || !pass.forward.train {
            return loss / weight;
        }
        let squares = told.looked_up.iter().map(|rows| rows.square().sum());
        squares.fold(loss, |loss, squares| loss + squares * self.l2) / weight
    }

    fn metrics(&self, model: &RaterModel) -> &'static [Metric] {
        model.metrics()
    }

    fn evaluate(&self, model: &RaterModel, held_out: &HeldOut<RatedRows>) -> Vec<f64> {
        let rows = held_out.data();
        let outputs = model.outputs(rows);
        let told = Tensor::from_slice(&outputs, [outputs.len()]);
        let loss = self.sum(&told, rows.targets(), 0.0).item() / rows.len() as f64;
        [vec![loss], model.score(&outputs, rows)].concat()
    }

    fn protocol(&self, _: &RaterModel) -> Option<String> {
        Some(self.protocol.clone())
    }

    fn activation_bytes(
        &self,
        model: &RaterModel,
        _: &RatedRows,
        samples: usize,
        _: bool,
    ) -> usize {
        model.activation_bytes().saturating_mul(samples)
    }

    fn honours(&self, model: &RaterModel, on: ActsOn) -> Result<(), &'static str> {
        match on {
            ActsOn::DropoutLayers if !model.has_dropout() => {
                Err("the model has no dropout layer; take `deepfm`, or leave it out")
            }
            ActsOn::AttentionWeights | ActsOn::Residuals | ActsOn::Embeddings => {
                Err("the model has nothing that it could act on; leave it out")
            }
            ActsOn::Samples => Err("interactions cannot be mixed; leave it out"),
            ActsOn::Targets if self.cost != RatingCost::Bce => {
                Err("acts on classes, and the task predicts ratings; leave it out")
            }
            ActsOn::Logits => Err("acts on logits of classes; leave it out"),
            _ => Ok(()),
        }
    }

    fn activations(
        &self,
        model: &RaterModel,
        batch: &RatedBatch,
        forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        Some(("the outputs", model.forward(batch, forward).outputs))
    }

    /// The mean rating, or the share of what is liked, whoever rates what.
    fn baseline(
        &self,
        model: &RaterModel,
        _: &RatedRows,
        held_out: &HeldOut<RatedRows>,
        _: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        let rows = held_out.data();
        let outputs = vec![start(self.mean, model.predicts_likes()); rows.len()];
        let values = model.score(&outputs, rows);
        let values = model.metrics()[1..].iter().copied().zip(values).collect();
        Ok(Some(Baseline { name: "mean", values }))
    }
}

/// The output that stands for the mean of the targets.
pub(crate) fn start(mean: f64, is_share: bool) -> f64 {
    if is_share { (mean / (1.0 - mean)).ln() } else { mean }
}
