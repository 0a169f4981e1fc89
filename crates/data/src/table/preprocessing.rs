//! What becomes of a table's rows before a model sees them, kept with the model.

use serde::{Deserialize, Serialize};

use super::column::Holds;
use super::{Column, Encoding, Missing, Table, TableConfig, Target, Wanted};
use crate::DataError;

/// From a table to the numbers of a model, as the training rows have it: the same file that a trained
/// model keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// What is predicted.
    pub target: Target,
    /// From what, in the order of the model's inputs.
    pub features: Vec<Feature>,
}

/// A column that is a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The column's name.
    pub name: String,
    /// Whether one more number says, by 1, that the value is missing.
    pub indicator: bool,
    /// What its cells become.
    pub encoding: Encoding,
}

/// The features of rows, as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// `[rows, width]`.
    pub values: Vec<f64>,
    /// How many numbers a row has.
    pub width: usize,
    /// What was done beyond the encoding itself, in words: values filled in, categories not known.
    pub notes: Vec<String>,
}

impl Preprocessing {
    /// Reads from the training rows of a table what becomes of any.
    ///
    /// # Errors
    /// A column that is not there, text among numbers, a number that is not finite, missing values
    /// where that is an error, a target that cannot be learned.
    pub fn fit(
        table: &Table,
        rows: &[usize],
        config: &TableConfig,
        wanted: Wanted,
    ) -> Result<Self, DataError> {
        let target = Target::fit(table, &config.target, rows, wanted)?;
        let mut features = Vec::new();
        for name in names(table, config)? {
            let column = table.column(name)?;
            let categorical = is_categorical(table, column, config)?;
            let encoding = if categorical {
                Encoding::categorical(table, column, rows, config.missing)?
            } else {
                Encoding::numeric(table, column, rows, config.missing, config.standardize)?
            };
            let misses = rows.iter().any(|row| column.text(*row).is_none());
            let indicator = misses && config.missing_indicator && config.missing != Missing::Error;
            features.push(Feature { name: name.to_owned(), indicator, encoding });
        }
        if features.is_empty() {
            return Err(
                table.error("has no column to predict from, beside the target and data.exclude")
            );
        }
        Ok(Self { target, features })
    }

    /// The names of a row's numbers: columns, `column=category`, `column is missing`.
    pub fn inputs(&self) -> Vec<String> {
        let of = |feature: &Feature| {
            let name = &feature.name;
            let mut inputs = match &feature.encoding {
                Encoding::Numeric { .. } => vec![name.clone()],
                Encoding::Categorical { categories, .. } => {
                    categories.iter().map(|category| format!("{name}={category}")).collect()
                }
            };
            inputs.extend(feature.indicator.then(|| format!("{name} is missing")));
            inputs
        };
        self.features.iter().flat_map(of).collect()
    }

    /// What is subtracted from each of a row's numbers and what it is divided by, in the order of
    /// [`inputs`](Self::inputs); 0 and 1 for categories and for marks of missing values.
    pub fn scales(&self) -> Vec<(f64, f64)> {
        let of = |feature: &Feature| {
            let first = match feature.encoding {
                Encoding::Numeric { mean, std, .. } => Some((mean, std)),
                Encoding::Categorical { .. } => None,
            };
            let mut scales = vec![(0.0, 1.0); feature.width()];
            scales.iter_mut().zip(first).for_each(|(scale, first)| *scale = first);
            scales
        };
        self.features.iter().flat_map(of).collect()
    }

    /// The features of rows; the target's column need not be there.
    ///
    /// A category that the training rows did not have is none of the known ones, and is told of.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), but for the target.
    pub fn encode(&self, table: &Table, rows: &[usize]) -> Result<Encoded, DataError> {
        let width = self.features.iter().map(Feature::width).sum();
        let mut encoded = Encoded { values: vec![0.0; rows.len() * width], width, notes: vec![] };
        let mut first = 0;
        for feature in &self.features {
            let column = table.column(&feature.name)?;
            let (mut filled, mut unknown) = (0, Vec::new());
            for (at, &row) in rows.iter().enumerate() {
                let start = at * width + first;
                let cells = &mut encoded.values[start..start + feature.width()];
                filled += usize::from(feature.encode(table, column, row, cells, &mut unknown)?);
            }
            encoded.notes.extend(feature.notes(filled, &unknown));
            first += feature.width();
        }
        Ok(encoded)
    }
}

impl Feature {
    /// How many of a row's numbers are this column's, its mark of a missing value included.
    pub fn width(&self) -> usize {
        self.encoding.width() + usize::from(self.indicator)
    }

    /// One cell as `cells`, which are 0; whether it was missing.
    fn encode(
        &self,
        table: &Table,
        column: &Column,
        row: usize,
        cells: &mut [f64],
        unknown: &mut Vec<String>,
    ) -> Result<bool, DataError> {
        let needed = || {
            let reason =
                "a value is missing; fill it in, or set data.missing to what stands in for it";
            table.cell(column, row, reason)
        };
        let missing = match &self.encoding {
            Encoding::Numeric { fill, mean, std } => {
                let given = table.number(column, row)?;
                cells[0] = (given.or(*fill).ok_or_else(needed)? - mean) / std;
                given.is_none()
            }
            Encoding::Categorical { fill, categories } => {
                let given = column.text(row);
                let category = given.as_deref().or(fill.as_deref()).ok_or_else(needed)?;
                match categories.binary_search_by(|known| known.as_str().cmp(category)) {
                    Ok(place) => cells[place] = 1.0,
                    Err(_) => unknown.push(category.to_owned()),
                }
                given.is_none()
            }
        };
        if missing && self.indicator {
            cells[self.encoding.width()] = 1.0;
        }
        Ok(missing)
    }

    fn notes(&self, filled: usize, unknown: &[String]) -> Vec<String> {
        let name = &self.name;
        let by = match &self.encoding {
            Encoding::Numeric { fill, .. } => {
                fill.map_or_else(String::new, |fill| fill.to_string())
            }
            Encoding::Categorical { fill, .. } => fill.clone().unwrap_or_default(),
        };
        let filled =
            (filled > 0).then(|| format!("column `{name}`: {filled} missing, taken for {by}"));
        let unknown = unknown.first().map(|first| {
            let count = unknown.len();
            format!("column `{name}`: {count} of no known category, such as `{first}`")
        });
        filled.into_iter().chain(unknown).collect()
    }
}

/// The features by name: those listed, or all but the target and those excluded.
fn names<'a>(table: &'a Table, config: &'a TableConfig) -> Result<Vec<&'a str>, DataError> {
    for name in config.exclude.iter().chain(config.categorical.iter().flatten()) {
        table.column(name)?;
    }
    if let Some(features) = &config.features {
        return Ok(features.iter().map(String::as_str).collect());
    }
    let left_out =
        |name: &&str| *name != config.target && !config.exclude.iter().any(|e| e == name);
    Ok(table.names().into_iter().filter(left_out).collect())
}

/// Whether a column holds names; where the config does not say, those are the ones with text alone.
fn is_categorical(table: &Table, column: &Column, config: &TableConfig) -> Result<bool, DataError> {
    if let Some(categorical) = &config.categorical {
        return Ok(categorical.iter().any(|name| name == column.name()));
    }
    match column.holds() {
        Holds::Nothing | Holds::Numbers => Ok(false),
        Holds::Texts => Ok(true),
        Holds::Both { row, others, text } => {
            let cell = column.text(row).unwrap_or_default();
            let kinds = if text { ["no number", "numbers"] } else { ["a number", "text"] };
            let reason = format!(
                "`{cell}` is {}, while {others} other cells are {}; correct it, or name the column in \
                 data.categorical",
                kinds[0], kinds[1]
            );
            Err(table.cell(column, row, &reason))
        }
    }
}
