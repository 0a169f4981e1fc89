//! Objectives: the loss of a batch, and what validations measure.
//!
//! Adding one is a file here; a task wires it to a dataset and a model.

mod answer;
mod contact_sheet;
mod embedding_loss;
mod image_class;
mod masked_token;
mod next_token;
pub(crate) mod preference;
mod rated;
mod recommended;
mod supervised;
mod target;
mod target_loss;
mod target_pictures;
mod template;
mod text_label;
mod text_similarity;

use rappel_data::{Dataset, HeldOut};
use rappel_nn::Forward;
use rappel_regularize::ActsOn;
use rappel_telemetry::Event;
use rappel_tensor::{Tensor, no_grad};

use crate::{Baseline, Metric, Model, Newest, Observer, Pass, TrainError, Verdict};

pub use answer::Answer;
pub(crate) use contact_sheet::contact_sheet;
pub use embedding_loss::{Distance, EmbeddingLoss, EmbeddingLossOptions};
pub use image_class::ImageClass;
pub use masked_token::MaskedToken;
pub use next_token::{NextToken, Sample};
pub(crate) use rated::start;
pub use rated::{RatedOptions, RatedPairs, RatingCost};
pub use recommended::{Recommended, RecommendedOptions};
pub use supervised::Supervised;
pub use target::TableTarget;
pub(crate) use target_loss::{ClassificationLoss, RegressionLoss};
pub use text_label::TextLabel;
pub use text_similarity::TextSimilarity;

/// What an objective's dataset hands to a forward pass.
pub type BatchOf<O> = <<O as Objective>::Data as Dataset>::Batch;

/// Takes what an objective shows.
pub type Show<'a> = dyn FnMut(&Event) -> Result<(), TrainError> + 'a;

/// What a model is trained for: the loss of a batch, and what validations measure.
///
/// Only [`loss`](Objective::loss) has to be written. See `examples/own_task.rs`.
pub trait Objective: Sized {
    /// What is learned from.
    type Data: Dataset;
    /// What learns.
    type Model: Model;

    /// The loss of a batch: its sum, divided by `weight`, which is that of all samples of the step or the
    /// validation. So the batches of a step add up to the mean over the step.
    fn loss(&self, model: &Self::Model, batch: &BatchOf<Self>, weight: f64, pass: &Pass) -> Tensor;

    /// A step of a model that is not trained by gradients, whose loss is given back: no pass of it is asked for, and the
    /// optimizer takes no step. Unset: none.
    fn solve(&self, _model: &mut Self::Model, _data: &Self::Data) -> Option<f64> {
        None
    }

    /// What the loss of some samples is divided by. Unset: the number of their units.
    fn weight(&self, data: &Self::Data, samples: &mut dyn ExactSizeIterator<Item = usize>) -> f64 {
        data.units(samples) as f64
    }

    /// What a validation measures, the loss first. Unset: the loss alone.
    fn metrics(&self, _model: &Self::Model) -> &'static [Metric] {
        &[Metric { name: "loss", unit: "", greater_is_better: false }]
    }

    /// The values of the [`metrics`](Objective::metrics), in their order, over held-out data. Unset: the
    /// mean loss, without random numbers and regularization.
    fn evaluate(&self, model: &Self::Model, held_out: &HeldOut<Self::Data>) -> Vec<f64> {
        let weight = self.weight(held_out.data(), &mut held_out.samples());
        let pass = Pass::evaluation();
        let loss = |batch| self.loss(model, &batch, weight, &pass).item();
        vec![no_grad(|| held_out.batches().map(loss).sum())]
    }

    /// How the metrics are measured, where that is not plain from their names: it is in the report. Unset: nothing.
    fn protocol(&self, _model: &Self::Model) -> Option<String> {
        None
    }

    /// What is recorded of training batches beside their loss, such as `rewards/margins`: means over those since they were
    /// last asked for. Unset: nothing.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// What looks wrong with a model before it has taken a step, by its first batch: why that may be, and what to do.
    /// Unset: nothing.
    fn first_doubt(&self, _model: &Self::Model, _batch: &BatchOf<Self>) -> Option<String> {
        None
    }

    /// Whether a run learns anything, judged after each step. Unset: nothing is odd.
    fn review(&self, _newest: &Newest<'_>) -> Verdict {
        Verdict::Fine
    }

    /// Pictures and curves of held-out data beside the metrics, as [`Event::Image`] and [`Event::PrCurves`]: asked
    /// for at some validations, where a sink shows them. Unset: none.
    ///
    /// # Errors
    /// Those of `show`.
    fn show(
        &self,
        _model: &Self::Model,
        _held_out: &HeldOut<Self::Data>,
        _show: &mut Show,
    ) -> Result<(), TrainError> {
        Ok(())
    }

    /// Pictures of what is trained on, before the first step, where a sink shows them. Unset: none.
    ///
    /// # Errors
    /// Those of `show`.
    fn show_training(
        &self,
        _model: &Self::Model,
        _data: &Self::Data,
        _seed: u64,
        _show: &mut Show,
    ) -> Result<(), TrainError> {
        Ok(())
    }

    /// Bytes that a forward and backward pass of so many samples takes at most, beside parameters, their
    /// gradients and the data; with R-Drop that is two passes, whose outputs are in memory as a whole. Known
    /// before anything of it is allocated. Unset: 0, so that
    /// a run that is too large is not refused for its activations.
    fn activation_bytes(
        &self,
        _model: &Self::Model,
        _data: &Self::Data,
        _samples: usize,
        _r_drop: bool,
    ) -> usize {
        0
    }

    /// Whether a regularizer that acts within forward passes or losses has anything to act on. Unset: the
    /// model honours the noise of `pass.forward`, and the loss `pass.terms`.
    ///
    /// # Errors
    /// The reason why not, and what to do.
    fn honours(&self, _model: &Self::Model, _on: ActsOn) -> Result<(), &'static str> {
        Ok(())
    }

    /// The last activations of a batch and their name: where a loss is not finite, the error says whether
    /// these were. Unset: none.
    fn activations(
        &self,
        _model: &Self::Model,
        _batch: &BatchOf<Self>,
        _forward: &Forward,
    ) -> Option<(&'static str, Tensor)> {
        None
    }

    /// A simple model of the same kind, for comparison, on held-out data. Unset: none.
    ///
    /// # Errors
    /// What keeps it from being fitted.
    fn baseline(
        &self,
        _model: &Self::Model,
        _data: &Self::Data,
        _held_out: &HeldOut<Self::Data>,
        _observer: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        Ok(None)
    }

    /// Something that the trained model made, to look at. Unset: none.
    ///
    /// # Errors
    /// What keeps it from being made.
    fn sample(
        &self,
        _model: &Self::Model,
        _held_out: Option<&HeldOut<Self::Data>>,
        _observer: &mut dyn Observer,
    ) -> Result<Option<String>, TrainError> {
        Ok(None)
    }
}
