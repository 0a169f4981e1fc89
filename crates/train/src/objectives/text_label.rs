//! The label of a text, its labels, or its number.

use rappel_data::{Dataset, HeldOut, LabelledBatch, LabelledTexts};
use rappel_model::{Problem, encoder_activation_bytes};
use rappel_nn::{Forward, regularized_cross_entropy};
use rappel_regularize::ActsOn;
use rappel_tensor::{Tensor, no_grad};

use super::target_pictures::show_classes;
use super::{Objective, Show};
use crate::models::TextClassifier;
use crate::{Baseline, Metric, Observer, Pass, TrainError};

/// The mean over texts of `-ln p(label | text)`, in nats; of labels of which any number may be right, the mean over these, too; of
/// numbers that are predicted, the mean of the squared error.
#[derive(Debug, Clone, Copy)]
pub struct TextLabel;

/// The numbers of labels as targets.
fn targets(labels: &[f64]) -> Tensor {
    let labels: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
    Tensor::from_slice(&labels, [labels.len()])
}

/// The sum over texts of what logits `[texts, labels]` cost, of numbers and of labels of which any number may be right.
fn costs(problem: Problem, logits: &Tensor, labels: &[f64]) -> Tensor {
    let targets = Tensor::from_slice(labels, logits.shape()).to_dtype(logits.dtype());
    if problem == Problem::Regression {
        return (logits - targets).square().sum();
    }
    let right = &targets * logits.log_sigmoid();
    let others = (-&targets + 1.0) * (-logits).log_sigmoid();
    (right + others).sum() * (-1.0 / logits.size(1) as f64)
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
        let problem = model.labels().problem;
        if problem != Problem::SingleLabel {
            return costs(problem, &logits(forward), &batch.labels) * (1.0 / weight);
        }
        let targets = targets(&batch.labels);
        regularized_cross_entropy(logits, None, &targets, Some(weight), terms, forward)
    }

    fn metrics(&self, model: &TextClassifier) -> &'static [Metric] {
        model.metrics()
    }

    fn evaluate(&self, model: &TextClassifier, held_out: &HeldOut<LabelledTexts>) -> Vec<f64> {
        let outputs = model.outputs(held_out.batches());
        let texts = held_out.samples().len();
        let labels = held_out.data().labels_of(texts);
        let scores = model.score(&outputs, labels);
        let problem = model.labels().problem;
        if problem != Problem::SingleLabel {
            let loss = no_grad(|| costs(problem, &outputs, labels).item()) / texts as f64;
            return [vec![loss], scores].concat();
        }
        // The loss is the mean of the same surprises.
        [vec![scores[1]], scores].concat()
    }

    fn show(
        &self,
        model: &TextClassifier,
        held_out: &HeldOut<LabelledTexts>,
        show: &mut Show,
    ) -> Result<(), TrainError> {
        if model.labels().problem != Problem::SingleLabel {
            return Ok(());
        }
        let probabilities = model.told(&model.outputs(held_out.batches()));
        let labels = held_out.data().labels_of(held_out.samples().len());
        show_classes(&model.labels().names, &probabilities, labels, show)
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

    fn honours(&self, model: &TextClassifier, on: ActsOn) -> Result<(), &'static str> {
        match on {
            ActsOn::Samples | ActsOn::Targets | ActsOn::Logits
                if model.labels().problem != Problem::SingleLabel =>
            {
                Err("acts on the one label of a text; leave it out")
            }
            _ => Ok(()),
        }
    }

    /// The frequencies of the labels, or the mean of the numbers, whatever the text.
    fn baseline(
        &self,
        model: &TextClassifier,
        data: &LabelledTexts,
        held_out: &HeldOut<LabelledTexts>,
        _: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        let labels = held_out.data().labels_of(held_out.samples().len());
        let (all, n) = (data.labels_of(data.len()), data.len() as f64);
        let count = model.labels().names.len();
        let cost: Box<dyn Fn(usize, f64) -> f64> = match model.labels().problem {
            Problem::SingleLabel => {
                let of = |label| all.iter().filter(|of| **of == label as f64).count() as f64 / n;
                let shares: Vec<f64> = (0..count).map(of).collect();
                Box::new(move |_, label| -shares[label as usize].max(f64::EPSILON).ln())
            }
            Problem::MultiLabel => {
                let of = |label: usize| all.iter().skip(label).step_by(count).sum::<f64>() / n;
                let shares: Vec<f64> = (0..count).map(of).collect();
                Box::new(move |place, there| {
                    let share = shares[place % count];
                    let share = if there == 1.0 { share } else { 1.0 - share };
                    -share.max(f64::EPSILON).ln()
                })
            }
            Problem::Regression => {
                let mean = all.iter().sum::<f64>() / n;
                Box::new(move |_, number| (number - mean).powi(2))
            }
        };
        let costs = labels.iter().enumerate().map(|(place, label)| cost(place, *label));
        let loss = costs.sum::<f64>() / labels.len() as f64;
        let name = match model.labels().problem {
            Problem::Regression => "mean",
            _ => "frequencies",
        };
        Ok(Some(Baseline::of_loss(name, loss)))
    }
}
