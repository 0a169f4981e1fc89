//! The target of a table's rows.

use rappel_config::{ConfigError, Options};
use rappel_data::{Dataset, HeldOut, TableBatch, TableRows, Target, TargetKind};
use rappel_nn::{Forward, regularized_cross_entropy};
use rappel_regularize::ActsOn;
use rappel_tensor::Tensor;

use super::Objective;
use super::Show;
use super::target_loss::Loss;
use super::target_pictures::show_classes;
use crate::models::{TabularModel, logits};
use crate::{Baseline, Metric, Observer, Pass, TrainError};

/// The loss of a model's outputs for rows, by their targets.
#[derive(Debug, Clone)]
pub struct TableTarget {
    loss: Loss,
}

impl TableTarget {
    /// Reads a section `loss` for a target and its training rows.
    pub(crate) fn new(
        section: &Options,
        target: &Target,
        training: &TableRows,
    ) -> Result<Self, ConfigError> {
        Ok(Self { loss: Loss::new(section, target, training.targets())? })
    }

    /// The mean loss of outputs.
    fn mean(&self, outputs: &Tensor, targets: &[f64]) -> f64 {
        self.loss.sum(outputs, targets, 0.0).item() / self.loss.weight(targets)
    }
}

impl Objective for TableTarget {
    type Data = TableRows;
    type Model = TabularModel;

    fn weight(&self, data: &TableRows, samples: &mut dyn ExactSizeIterator<Item = usize>) -> f64 {
        if self.loss.is_plain() {
            return samples.len() as f64;
        }
        self.loss.weight(&samples.map(|row| data.targets()[row]).collect::<Vec<_>>())
    }

    fn loss(&self, model: &TabularModel, batch: &TableBatch, weight: f64, pass: &Pass) -> Tensor {
        let (Pass { forward, terms }, targets) = (pass, &batch.targets);
        if self.loss.is_cross_entropy() && self.loss.is_plain() {
            let classes: Vec<i64> = targets.iter().map(|class| *class as i64).collect();
            let classes = Tensor::from_slice(&classes, [classes.len()]);
            let logits = |forward: &Forward| logits(&model.forward(batch, forward));
            return regularized_cross_entropy(logits, None, &classes, Some(weight), terms, forward);
        }
        let outputs = model.forward(batch, forward);
        let sum = |targets: &[f64]| self.loss.sum(&outputs, targets, terms.label_smoothing);
        let loss = match forward.noise.mixup.filter(|_| forward.train) {
            None => sum(targets),
            Some(mixup) => {
                let partners = mixup.partners(targets.len()).to_vec::<i64>();
                let partners: Vec<f64> = partners.iter().map(|at| targets[*at as usize]).collect();
                sum(targets) * mixup.weight() + sum(&partners) * (1.0 - mixup.weight())
            }
        };
        loss / weight
    }

    fn activation_bytes(
        &self,
        model: &TabularModel,
        data: &TableRows,
        samples: usize,
        r_drop: bool,
    ) -> usize {
        let row = model.activation_bytes(data.row_size());
        row.saturating_mul(samples).saturating_mul(if r_drop { 2 } else { 1 })
    }

    fn metrics(&self, model: &TabularModel) -> &'static [Metric] {
        model.metrics()
    }

    fn evaluate(&self, model: &TabularModel, held_out: &HeldOut<TableRows>) -> Vec<f64> {
        let outputs = model.outputs(held_out.batches());
        let targets = &held_out.data().targets()[held_out.samples()];
        let loss = self.mean(&outputs, targets);
        [vec![loss], model.score(&outputs, targets)].concat()
    }

    fn show(
        &self,
        model: &TabularModel,
        held_out: &HeldOut<TableRows>,
        show: &mut Show,
    ) -> Result<(), TrainError> {
        let Some(classes) = model.classes() else { return Ok(()) };
        let probabilities = model.predictions(&model.outputs(held_out.batches()));
        let targets = &held_out.data().targets()[held_out.samples()];
        show_classes(classes, &probabilities, targets, show)
    }

    fn honours(&self, model: &TabularModel, on: ActsOn) -> Result<(), &'static str> {
        let of_classes = "acts on classes, and the task predicts numbers; leave it out";
        let plain = "does not go with loss.class_weight; leave one of them out";
        match (on, self.loss.is_cross_entropy()) {
            (ActsOn::DropoutLayers, _) if !model.has_dropout() => {
                Err("the model has no dropout layer; take `mlp`, or leave it out")
            }
            (ActsOn::AttentionWeights | ActsOn::Residuals, _) => {
                Err("the model has nothing that it could act on; leave it out")
            }
            (ActsOn::Samples | ActsOn::Logits, true) if !self.loss.is_plain() => Err(plain),
            (ActsOn::Targets | ActsOn::Logits, false) => Err(of_classes),
            _ => Ok(()),
        }
    }

    /// The mean of the target, or the frequencies of the classes, whatever the features.
    fn baseline(
        &self,
        model: &TabularModel,
        data: &TableRows,
        held_out: &HeldOut<TableRows>,
        _: &mut dyn Observer,
    ) -> Result<Option<Baseline>, TrainError> {
        let targets = data.targets();
        let share = |of: usize| {
            let count = targets.iter().filter(|target| **target == of as f64).count();
            (count as f64 / data.len() as f64).max(f64::EPSILON).ln()
        };
        let (name, row) = match &model.preprocessing().target.of {
            TargetKind::Number { .. } => {
                ("mean", vec![targets.iter().sum::<f64>() / data.len() as f64])
            }
            TargetKind::Classes { classes } if classes.len() == 2 => {
                ("frequencies", vec![share(1) - share(0)])
            }
            TargetKind::Classes { classes } => {
                ("frequencies", (0..classes.len()).map(share).collect())
            }
        };
        let rows = held_out.samples().len();
        let outputs = Tensor::from_slice(&row, [1, row.len()]);
        let outputs = outputs.broadcast_to([rows, row.len()]).contiguous();
        let targets = &held_out.data().targets()[held_out.samples()];
        Ok(Some(Baseline::of_loss(name, self.mean(&outputs, targets))))
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
