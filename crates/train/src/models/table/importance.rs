//! How much a model needs each column: permutation importance.

use rappel_data::{Permutation, Table};
use rappel_nn::Features;
use rappel_tensor::Key;

use super::TabularModel;
use crate::metrics::place;
use crate::{Metric, TrainError};

/// How columns are permuted and what is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permuting {
    /// Permutations of each column, at least 1.
    pub repeats: u32,
    /// Chooses the permutations.
    pub seed: u64,
    /// The metric; none: `r2` of numbers, `accuracy` of classes.
    pub metric: Option<String>,
}

/// What becomes of a metric where a column is permuted.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// The column of the table.
    pub column: String,
    /// For each permutation, by how much the metric is worse.
    pub values: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their deviation, over `n`.
    pub std: f64,
}

/// The importance of each column that a model reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Importances {
    /// What is measured.
    pub metric: Metric,
    /// Its value on the table as it is.
    pub baseline: f64,
    /// The columns, in the order of the model's features.
    pub columns: Vec<Importance>,
    /// How many rows were predicted.
    pub rows: usize,
    /// What was done to the table's cells beyond the encoding, in words.
    pub notes: Vec<String>,
}

impl TabularModel {
    /// By how much a metric is worse on a table when the cells of one column are permuted, as
    /// scikit-learn's `permutation_importance` measures it: the score of the table minus that of the
    /// permuted one, where errors count as negative scores. All inputs that a column becomes move
    /// together. A repeat permutes each column in the same way.
    ///
    /// Source: Breiman, "Random forests", Machine Learning 45, 2001.
    ///
    /// # Errors
    /// An unknown metric; a column or a target that is missing, cells that cannot be read; a metric
    /// that is not a finite number on the table.
    pub fn importances(
        &self,
        table: &Table,
        permuting: &Permuting,
    ) -> Result<Importances, TrainError> {
        // Before them the loss, which is training's own.
        let metrics = &self.metrics()[1..];
        let default = if self.classes().is_some() { "accuracy" } else { "r2" };
        let name = permuting.metric.as_deref().unwrap_or(default);
        let at = place(name, metrics).map_err(|reason| TrainError::Metric { reason })?;
        let metric = metrics[at];
        let rows: Vec<usize> = (0..table.rows()).collect();
        let targets = self.preprocessing.target.encode(table, &rows)?;
        let (x, notes) = self.encode(table)?;
        let score = |x: &Features| match self.score(&self.outputs_for(x), &targets)[at] {
            score if score.is_finite() => Ok(score),
            score => {
                let reason =
                    format!("{name} is {score} on this table; give another metric or other rows");
                Err(TrainError::Metric { reason })
            }
        };
        let baseline = score(&x)?;
        let features = &self.preprocessing.features;
        let mut values = vec![Vec::new(); features.len()];
        for repeat in 0..permuting.repeats {
            let permuted = x.select(&order(rows.len(), permuting.seed, repeat));
            let (mut number, mut one) = (0, 0);
            for (feature, values) in features.iter().zip(&mut values) {
                let [numbers, ones] = feature.columns();
                let (numbers, ones) = (number..number + numbers, one..one + ones);
                (number, one) = (numbers.end, ones.end);
                let score = score(&x.with_columns(&permuted, numbers, ones))?;
                let loss = baseline - score;
                values.push(if metric.greater_is_better { loss } else { 0.0 - loss });
            }
        }
        let column = |(feature, values): (&rappel_data::Feature, Vec<f64>)| {
            let mean = mean(values.iter().copied());
            let std = self::mean(values.iter().map(|value| (value - mean).powi(2))).sqrt();
            Importance { column: feature.name.clone(), values, mean, std }
        };
        let columns = features.iter().zip(values).map(column).collect();
        Ok(Importances { metric, baseline, columns, rows: rows.len(), notes })
    }
}

/// The row whose cells each row is given.
fn order(rows: usize, seed: u64, repeat: u32) -> Vec<usize> {
    let key = Key::new(seed).with_name("permutation importance").with(u64::from(repeat));
    let permutation = Permutation::new(rows, key.below(u64::MAX));
    (0..rows).map(|row| permutation.at(row)).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
