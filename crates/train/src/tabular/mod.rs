//! Learning from tables: what the tasks `regression` and `classification` share.

mod coefficients;
mod importance;
mod loss;
mod metrics;
mod model;

use std::path::Path;

use rappel_data::{
    BatchSize, Drawing, Order, Preprocessing, Table, TableConfig, TargetKind, Wanted,
};
use rappel_model::product_size;
use rappel_nn::{Features, Forward, regularized_cross_entropy};
use rappel_registry::{ConfigError, OptionSet};
use rappel_tensor::{Key, Params, Tensor};

use crate::checkpoint::TextHash;
use crate::tasks::Task;
use crate::{Baseline, Config, Metric, Observer, Pass, TrainError};

pub use coefficients::Equation;
pub use importance::{Importance, Importances, Permuting};
pub(crate) use loss::{CLASSIFICATION, REGRESSION};
pub use model::{Predictions, Scores, TabularModel};

use loss::{Loss, logits, values};
use model::ROWS;

/// Rows that are encoded.
struct Rows {
    x: Features,
    /// In the model's units: numbers, or the numbers of classes.
    targets: Vec<f64>,
    notes: Vec<String>,
}

/// A model of a table with its rows.
struct Tabular {
    model: TabularModel,
    loss: Loss,
    train: Rows,
    validation: Option<Rows>,
    order: Order,
    parts: usize,
}

/// Bytes of a row's number, its target and its place in a batch.
const ROW_BYTES: usize = 64;

/// Reads the table, and makes the model.
pub(crate) fn build(
    config: &Config,
    wanted: Wanted,
    observer: &mut dyn Observer,
) -> Result<(Box<dyn Task>, Config), TrainError> {
    let data = TableConfig::from_options(config.section("data"))?;
    let train = &config.run().train;
    if train.eval_batches.is_some() {
        let reason = "a table is validated whole; leave it out";
        return Err(ConfigError::invalid("train.eval_batches", reason).into());
    }
    observer.stage("reading the table");
    let table = data.read(&data.file, wanted)?;
    let (rows, held) = split(config, &table, data.validation_fraction)?;
    let preprocessing = Preprocessing::fit(&table, &rows, &data, wanted)?;
    let model =
        TabularModel::new(config.section("model"), preprocessing, |dtype| config.params(dtype))?;
    let mut train_rows = encode(&model, &table, &rows)?;
    train_rows.notes.splice(0..0, model.preprocessing().notes());
    let loss =
        Loss::new(config.section("loss"), &model.preprocessing().target, &train_rows.targets)?;
    let validation = match &data.validation_file {
        Some(file) => {
            let table = data.read(file, wanted)?;
            Some(encode(&model, &table, &(0..table.rows()).collect::<Vec<_>>())?)
        }
        None if held.is_empty() => None,
        None => Some(encode(&model, &table, &held)?),
    };
    let order = config.order(rows.len())?;
    let parts = train.gradient_accumulation_steps;
    let task = Tabular { model, loss, train: train_rows, validation, order, parts };
    Ok((Box::new(task), config.clone()))
}

/// The rows to train on and those to validate on, drawn by the seed, each in the table's order.
fn split(
    config: &Config,
    table: &Table,
    fraction: f64,
) -> Result<(Vec<usize>, Vec<usize>), TrainError> {
    let rows = table.rows();
    let held = (fraction * rows as f64).round() as usize;
    if held == rows || (fraction > 0.0 && held == 0) {
        let reason = format!(
            "{held} of {rows} rows; give more rows, another share, or a data.validation_file"
        );
        return Err(config.section("data").invalid("validation_fraction", reason).into());
    }
    // The order in which an epoch of another seed would go through all rows.
    let seed = u64::from(Key::new(config.seed()).with_name("split").bits(0));
    let order = Order::new(rows, BatchSize::Fixed(rows), Drawing { seed, ..Drawing::default() })?;
    let mut drawn = order.samples(0);
    let mut held = drawn.split_off(rows - held);
    drawn.sort_unstable();
    held.sort_unstable();
    Ok((drawn, held))
}

fn encode(model: &TabularModel, table: &Table, rows: &[usize]) -> Result<Rows, TrainError> {
    let (x, notes) = model.features(table, rows)?;
    let targets = model.preprocessing().target.encode(table, rows)?;
    Ok(Rows { x, targets, notes })
}

impl Tabular {
    /// The mean loss of outputs.
    fn mean_loss(&self, outputs: &Tensor, targets: &[f64]) -> f64 {
        self.loss.sum(outputs, targets, 0.0).item() / self.loss.weight(targets)
    }

    /// What the rows of a step weigh, together.
    fn step_weight(&self, step: u64) -> f64 {
        if self.loss.is_cross_entropy() && !self.loss.is_plain_cross_entropy() {
            return self.loss.weight(&self.targets(&self.order.samples(step)));
        }
        self.order.batch_size(step) as f64
    }

    fn targets(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter().map(|row| self.train.targets[*row]).collect()
    }

    /// What is told without looking at features: the mean, or the frequencies of the classes, as
    /// outputs for each of `rows`.
    fn featureless(&self, rows: usize) -> (&'static str, Tensor) {
        let targets = &self.train.targets;
        let share = |of: f64| {
            let count = targets.iter().filter(|target| **target == of).count();
            (count as f64 / targets.len() as f64).max(f64::EPSILON).ln()
        };
        let (name, told) = match &self.model.preprocessing().target.of {
            TargetKind::Number { .. } => {
                ("mean", vec![targets.iter().sum::<f64>() / targets.len() as f64])
            }
            TargetKind::Classes { classes } if classes.len() == 2 => {
                ("frequencies", vec![share(1.0) - share(0.0)])
            }
            TargetKind::Classes { classes } => {
                ("frequencies", (0..classes.len()).map(|class| share(class as f64)).collect())
            }
        };
        let outputs = told.len();
        (name, Tensor::from_slice(&told, [1, outputs]).broadcast_to([rows, outputs]).contiguous())
    }
}

impl Task for Tabular {
    fn params(&self) -> &Params {
        &self.model.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.model.params
    }

    fn order(&self) -> &Order {
        &self.order
    }

    fn fingerprint(&self) -> String {
        let mut hash = TextHash::default();
        for Rows { x, targets, .. } in
            [Some(&self.train), self.validation.as_ref()].into_iter().flatten()
        {
            let mut add = |values: &[f64]| {
                let bits = values.iter().map(|value| format!("{} ", value.to_bits()));
                bits.for_each(|bits| hash.add(&bits));
            };
            for start in (0..x.rows()).step_by(ROWS) {
                add(&values(x.narrow(start, ROWS.min(x.rows() - start)).numbers()));
            }
            for start in (0..x.rows()).step_by(ROWS) {
                let part = x.narrow(start, ROWS.min(x.rows() - start));
                part.ones().into_iter().for_each(|ones| add(&values(ones)));
            }
            add(targets);
        }
        hash.finish()
    }

    fn describe(&self) -> String {
        let rows = |rows: &Rows| rows.targets.len();
        let inputs = self.model.preprocessing().width();
        let columns = self.model.preprocessing().features.len();
        let line = format!(
            "{} rows to train on, {} to validate, {columns} columns as {inputs} inputs",
            rows(&self.train),
            self.validation.as_ref().map_or(0, rows),
        );
        [line].iter().chain(&self.train.notes).cloned().collect::<Vec<_>>().join("\n            ")
    }

    fn unit(&self) -> &'static str {
        "rows"
    }

    fn units(&self, step: u64) -> usize {
        self.order.batch_size(step)
    }

    fn activation_bytes(&self, samples: usize, r_drop: bool) -> usize {
        let entries = self.model.params.entries();
        let products = entries.iter().filter_map(product_size).fold(0, usize::saturating_add);
        // Inputs of categories are not made: the first layer looks its columns up.
        let width = self.model.preprocessing().width();
        let read = self.train.x.row_size();
        let numbers = products.saturating_sub(width).saturating_add(read).saturating_mul(2);
        // Each row's place and target, too.
        let row = numbers.saturating_mul(self.model.dtype().size()).saturating_add(ROW_BYTES);
        row.saturating_mul(samples).saturating_mul(if r_drop { 2 } else { 1 })
    }

    fn loss(&self, pass: &Pass) -> Option<Tensor> {
        let Pass { step, part, forward, terms } = pass;
        let rows = self.order.part(*step, *part, self.parts);
        if rows.is_empty() {
            return None;
        }
        let x = self.train.x.select(&rows);
        let outputs = |forward: &Forward| self.model.predictor.forward(&x, forward);
        let of_step = self.step_weight(*step);
        let targets = self.targets(&rows);
        if self.loss.is_plain_cross_entropy() {
            let classes: Vec<i64> = targets.iter().map(|class| *class as i64).collect();
            let classes = Tensor::from_slice(&classes, [classes.len()]);
            let logits = |forward: &Forward| logits(&outputs(forward));
            let of_step = Some(of_step);
            return Some(regularized_cross_entropy(
                logits, None, &classes, of_step, terms, forward,
            ));
        }
        let outputs = outputs(forward);
        let sum = |targets: &[f64]| self.loss.sum(&outputs, targets, terms.label_smoothing);
        let loss = match forward.noise.mixup {
            None => sum(&targets),
            Some(mixup) => {
                let partners = mixup.partners(targets.len()).to_vec::<i64>();
                let partners: Vec<f64> = partners.iter().map(|at| targets[*at as usize]).collect();
                sum(&targets) * mixup.weight() + sum(&partners) * (1.0 - mixup.weight())
            }
        };
        Some(loss / of_step)
    }

    fn honours(&self, regularizer: &str) -> Result<(), &'static str> {
        match regularizer {
            "neftune" => Ok(()),
            "dropout" if self.model.predictor.has_dropout() => Ok(()),
            "dropout" => Err("the model has no layer that drops; take `mlp`, or leave it out"),
            "mixup" if !self.loss.is_cross_entropy() => Ok(()),
            "label_smoothing" if self.loss.is_cross_entropy() => Ok(()),
            "mixup" | "z_loss" | "confidence_penalty" | "r_drop" => {
                match (self.loss.is_cross_entropy(), self.loss.is_plain_cross_entropy()) {
                    (_, true) => Ok(()),
                    (true, false) => {
                        Err("does not go with loss.class_weight; leave one of them out")
                    }
                    (false, false) => {
                        Err("acts on classes, and the task tells numbers; leave it out")
                    }
                }
            }
            "label_smoothing" => Err("acts on classes, and the task tells numbers; leave it out"),
            _ => Err("the model has nothing that it could act on; leave it out"),
        }
    }

    fn metrics(&self) -> &'static [Metric] {
        self.model.metrics()
    }

    fn validates(&self) -> bool {
        self.validation.is_some()
    }

    fn validate(&self) -> Option<Vec<f64>> {
        let Rows { x, targets, .. } = self.validation.as_ref()?;
        let outputs = self.model.outputs(x);
        let loss = self.mean_loss(&outputs, targets);
        Some([vec![loss], self.model.score(&outputs, targets)].concat())
    }

    fn first_non_finite_activation(&self, _: &[Pass]) -> Option<String> {
        None
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.model.save(folder)
    }

    fn baseline(&self, _: &mut dyn Observer) -> Result<Option<Baseline>, TrainError> {
        let Some(Rows { targets, .. }) = &self.validation else { return Ok(None) };
        let (name, outputs) = self.featureless(targets.len());
        Ok(Some(Baseline { name, loss: self.mean_loss(&outputs, targets) }))
    }

    fn sample(&self, _: &mut dyn Observer) -> Result<Option<String>, TrainError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
