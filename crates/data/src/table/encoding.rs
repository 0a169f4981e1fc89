//! How one column becomes numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Column, Table};
use crate::DataError;

/// What stands in for a missing number; for a missing category it is always the most frequent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The mean of the training part.
    Mean,
    /// Its median: of an even count, the mean of the middle two.
    Median,
    /// Its most frequent value; of equally frequent ones the smallest.
    MostFrequent,
    /// Nothing: a missing value is an error.
    Error,
}

impl Missing {
    /// The names that the config has.
    pub const NAMES: &[&str] = &["mean", "median", "most_frequent", "error"];

    pub(super) fn by_name(name: &str) -> Self {
        match name {
            "mean" => Self::Mean,
            "median" => Self::Median,
            "most_frequent" => Self::MostFrequent,
            _ => Self::Error,
        }
    }
}

/// How the cells of a column become numbers, as the training part has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// One number, `(x - mean) / std`.
    Numeric {
        /// Stands in for a missing value; none: that is an error.
        fill: Option<f64>,
        /// Subtracted.
        mean: f64,
        /// Divided by.
        std: f64,
    },
    /// A number for each category: 1 for the cell's own, else 0.
    Categorical {
        /// Stands in for a missing value; none: that is an error.
        fill: Option<String>,
        /// In order.
        categories: Vec<String>,
    },
}

impl Encoding {
    /// One number a cell, from the training rows.
    pub(super) fn numeric(
        table: &Table,
        column: &Column,
        rows: &[usize],
        missing: Missing,
        standardize: bool,
    ) -> Result<Self, DataError> {
        let mut values = Vec::with_capacity(rows.len());
        for &row in rows {
            values.extend(table.number(column, row)?);
        }
        if values.is_empty() {
            return Err(nothing(table, column));
        }
        let fill = match missing {
            Missing::Mean => Some(mean(&values)),
            Missing::Median => Some(median(values.clone())),
            Missing::MostFrequent => Some(most_frequent(values.clone())),
            Missing::Error => None,
        };
        if !standardize {
            return Ok(Self::Numeric { fill, mean: 0.0, std: 1.0 });
        }
        if let Some(fill) = fill {
            values.resize(rows.len(), fill);
        }
        let (mean, std) = standard(&values);
        Ok(Self::Numeric { fill, mean, std })
    }

    /// A number for each category that the training rows have.
    pub(super) fn categorical(
        table: &Table,
        column: &Column,
        rows: &[usize],
        missing: Missing,
    ) -> Result<Self, DataError> {
        let mut counts = BTreeMap::new();
        for text in rows.iter().filter_map(|row| column.text(*row)) {
            *counts.entry(text.into_owned()).or_insert(0_usize) += 1;
        }
        let Some(most) = counts.values().max().copied() else { return Err(nothing(table, column)) };
        let frequent =
            counts.iter().find(|(_, count)| **count == most).map(|(text, _)| text.clone());
        let fill = frequent.filter(|_| missing != Missing::Error);
        Ok(Self::Categorical { fill, categories: counts.into_keys().collect() })
    }

    /// How many numbers a cell becomes.
    pub fn width(&self) -> usize {
        match self {
            Self::Numeric { .. } => 1,
            Self::Categorical { categories, .. } => categories.len(),
        }
    }
}

fn nothing(table: &Table, column: &Column) -> DataError {
    table.error(format!(
        "column `{}` has no value in the training rows; leave it out of data.features, or name it in \
         data.exclude",
        column.name()
    ))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean and the deviation (over `n`, as scikit-learn's `StandardScaler`); 1 where all values are
/// the same.
pub(super) fn standard(values: &[f64]) -> (f64, f64) {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let std = (squares / values.len() as f64).sqrt();
    // The mean of equal values rounds, so that their deviation is not quite 0.
    let same = values.iter().all(|value| *value == values[0]);
    (mean, if same { 1.0 } else { std })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

fn most_frequent(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let runs = values.chunk_by(|a, b| a == b);
    let longest =
        runs.fold(&values[..0], |best, run| if run.len() > best.len() { run } else { best });
    longest[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_is_what_its_name_says() {
        let values = [3.0, 1.0, 1.0, 7.0];
        assert_eq!(mean(&values), 3.0);
        assert_eq!(median(values.to_vec()), 2.0);
        assert_eq!(median(vec![5.0, 1.0, 2.0]), 2.0);
        assert_eq!(most_frequent(values.to_vec()), 1.0);
        assert_eq!(most_frequent(vec![2.0, 1.0, 2.0, 1.0, 9.0]), 1.0);
        assert_eq!(standard(&[0.1, 0.1, 0.1]).1, 1.0);
        assert_eq!(standard(&[1.0, 3.0]), (2.0, 1.0));
    }
}
