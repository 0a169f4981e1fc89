//! The label of a text.

use rappel_data::{Dataset, HeldOut, LabelledBatch, LabelledTexts};
use rappel_model::encoder_activation_bytes;
use rappel_nn::{Forward, regularized_cross_entropy};
use rappel_regularize::ActsOn;
use rappel_tensor::Tensor;

use super::target_pictures::show_classes;
use super::{Objective, Show};
use crate::models::TextClassifier;
use crate::{Baseline, Metric, Observer, Pass, TrainError};

/// The mean over texts of `-ln p(label | text)`, in nats.
#[derive(Debug, Clone, Copy)]
pub struct TextLabel;

/// The numbers of labels as targets.
fn targets(labels: &[f64]) -> Tensor {
    let labels: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
    Tensor::from_slice(&labels, [labels.len()])
}

impl Objective for TextLabel {
    type Data = LabelledTexts;
    type Model = TextClassifier;

    fn loss(
        &self,
        model: &TextClassifier,
        batch: &LabelledBatch,
        weight: f64,
        pass: &Pass,
    ) -> Tensor {
        let Pass { forward, terms } = pass;
        let logits = |forward: &Forward| model.logits(batch, forward);
        let targets = targets(&batch.labels);
        regularized_cross_entropy(logits, None, &targets, Some(weight), terms, forward)
    }

    fn metrics(&self, model: &TextClassifier) -> &'static [Metric] {
        model.metrics()
    }

    fn evaluate(&self, model: &TextClassifier, held_out: &HeldOut<LabelledTexts>) -> Vec<f64> {
        let outputs = model.outputs(held_out.batches());
        let labels = &held_out.data().labels()[held_out.samples()];
        let scores = model.score(&outputs, labels);
        // The loss is the mean of the same surprises.
        [vec![scores[1]], scores].concat()
    }

    fn show(
        &self,
        model: &TextClassifier,
        held_out: &HeldOut<LabelledTexts>,
        show: &mut Show,
    ) -> Result<(), TrainError> {
        let probabilities = TextClassifier::probabilities(&model.outputs(held_out.batches()));
        let labels = &held_out.data().labels()[held_out.samples()];
        show_classes(model.labels(), &probabilities, labels, show)
    }

    fn activation_bytes(
        &self,
        model: &TextClassifier,
        data: &LabelledTexts,
        samples: usize,
        r_drop: bool,
    ) -> usize {
        let tokens = samples.saturating_mul(data.longest());
        let inner = model.inner();
        let bytes = encoder_activation_bytes(inner.model.config(), &inner.params, tokens);
        bytes.saturating_mul(if r_drop { 2 } else { 1 })
    }

    fn honours(&self, _: &TextClassifier, _: ActsOn) -> Result<(), &'static str> {
        Ok(())
    }

    /// The frequencies of the labels, whatever the text.
    fn baseline(
        &self,
        model: &TextClassifier,
        data: &LabelledTexts,
        held_out: &HeldOut<LabelledTexts>,
        _: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        let share = |label: usize| {
            let count = data.labels().iter().filter(|of| **of == label as f64).count();
            (count as f64 / data.len() as f64).max(f64::EPSILON)
        };
        let shares: Vec<f64> = (0..model.labels().len()).map(share).collect();
        let labels = &held_out.data().labels()[held_out.samples()];
        let surprise = |label: &f64| -shares[*label as usize].ln();
        let loss = labels.iter().map(surprise).sum::<f64>() / labels.len() as f64;
        Ok(Some(Baseline::of_loss("frequencies", loss)))
    }
}
