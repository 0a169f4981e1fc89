//! What is to be predicted of a row.

use rappel_config::suggest;
use serde::{Deserialize, Serialize};

use super::encoding::{standard, too_large};
use super::{Column, ReadAs, Table};
use crate::DataError;

/// The column that is predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What its cells are.
    pub of: TargetKind,
}

/// What the cells of a target are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetKind {
    /// Numbers; a model predicts `(y - mean) / std`.
    Number {
        /// Subtracted.
        mean: f64,
        /// Divided by.
        std: f64,
    },
    /// One of these; a model gives a score for each.
    Classes {
        /// In order: by number where all are numbers, else by text.
        classes: Vec<String>,
    },
}

/// What a task wants of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Numbers.
    Number {
        /// Whether the model predicts them in standard units.
        standardize: bool,
    },
    /// Classes.
    Classes,
}

impl Target {
    /// Reads what the target is: numbers from the training rows, classes from all.
    ///
    /// # Errors
    /// A missing value, text among numbers, all values the same.
    pub(super) fn fit(
        table: &Table,
        name: &str,
        rows: &[usize],
        wanted: Wanted,
        is_class: bool,
    ) -> Result<Self, DataError> {
        let column = table.column(name)?;
        let of = match wanted {
            Wanted::Number { .. } if is_class => {
                let reason =
                    "is a number, as the target of a regression; leave it out of data.categorical";
                return Err(table.error(format!("column `{name}` {reason}")));
            }
            Wanted::Number { standardize } => numbers(table, column, rows, standardize)?,
            Wanted::Classes => classes(table, column, is_class)?,
        };
        Ok(Self { name: name.to_owned(), of })
    }

    /// What its column is read as.
    pub(super) fn read_as(&self) -> ReadAs {
        match self.of {
            TargetKind::Number { .. } => ReadAs::Number,
            TargetKind::Classes { .. } => ReadAs::Text,
        }
    }

    /// The targets of rows: numbers in the model's units, or the numbers of classes.
    ///
    /// # Errors
    /// A missing value, text among numbers, a class that is not known.
    pub fn encode(&self, table: &Table, rows: &[usize]) -> Result<Vec<f64>, DataError> {
        let column = table.column(&self.name)?;
        let TargetKind::Number { mean, std } = &self.of else {
            return self.classes(table, column, rows);
        };
        let one = |row: &usize| {
            let value = table.number(column, *row)?.ok_or_else(|| missing(table, column, *row))?;
            Ok((value - mean) / std)
        };
        rows.iter().map(one).collect()
    }

    fn classes(
        &self,
        table: &Table,
        column: &Column,
        rows: &[usize],
    ) -> Result<Vec<f64>, DataError> {
        let TargetKind::Classes { classes } = &self.of else { return Ok(vec![]) };
        let (texts, cells) = table.texts(column)?;
        let number = |text: &&str| classes.iter().position(|known| known == text);
        let numbers: Vec<Option<usize>> = texts.iter().map(number).collect();
        let one = |row: &usize| {
            let cell = cells[*row] as usize;
            let number = numbers.get(cell).ok_or_else(|| missing(table, column, *row))?;
            number.map(|number| number as f64).ok_or_else(|| {
                let class = texts[cell];
                let near = suggest(class, classes.iter().map(String::as_str));
                let near = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                let known = classes.join(", ");
                let reason = format!("no class is named `{class}`{near} (known: {known})");
                table.cell(column, *row, &reason)
            })
        };
        rows.iter().map(one).collect()
    }
}

fn missing(table: &Table, column: &Column, row: usize) -> DataError {
    table.cell(column, row, "the target is missing; fill it in, or take the row out")
}

fn numbers(
    table: &Table,
    column: &Column,
    rows: &[usize],
    standardize: bool,
) -> Result<TargetKind, DataError> {
    let mut values = Vec::with_capacity(rows.len());
    for &row in rows {
        values.push(table.number(column, row)?.ok_or_else(|| missing(table, column, row))?);
    }
    if values.iter().all(|value| *value == values[0]) {
        let reason = format!(
            "column `{}`: the target is {} in all {} training rows, so that there is nothing to learn; \
             give another data.target or more rows",
            column.name(),
            values[0],
            rows.len()
        );
        return Err(table.error(reason));
    }
    let in_units = if standardize { standard(&values) } else { Some((0.0, 1.0)) };
    let (mean, std) = in_units.ok_or_else(|| too_large(table, column))?;
    Ok(TargetKind::Number { mean, std })
}

/// The classes of all rows; numbers of which there are very many only where the config says `is_class`.
fn classes(table: &Table, column: &Column, is_class: bool) -> Result<TargetKind, DataError> {
    let (texts, _) = table.texts(column)?;
    if let Some(row) = (0..table.rows()).find(|row| column.is_missing(*row)) {
        return Err(missing(table, column, row));
    }
    let mut classes: Vec<String> = texts.into_iter().map(str::to_owned).collect();
    classes.sort_unstable();
    if let [only] = &classes[..] {
        let reason = format!(
            "column `{}`: the target is `{only}` in all rows, so that there is nothing to learn; give \
             another data.target or more rows",
            column.name()
        );
        return Err(table.error(reason));
    }
    let numbers: Option<Vec<f64>> = classes.iter().map(|class| class.parse().ok()).collect();
    if let Some(numbers) = numbers {
        if classes.len() > MOST_NUMBERS && !is_class {
            let reason = format!(
                "column `{}`: the target has {} different numbers; is it a quantity, for task = \
                 \"regression\"? if each is a class, name the column in data.categorical",
                column.name(),
                classes.len()
            );
            return Err(table.error(reason));
        }
        let mut pairs: Vec<(f64, String)> = numbers.into_iter().zip(classes).collect();
        pairs.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        classes = pairs.into_iter().map(|(_, class)| class).collect();
    }
    // So many classes are numbers to be told, not names.
    if classes.len() > MOST_CLASSES {
        let reason = format!(
            "column `{}`: {} classes are more than {MOST_CLASSES}; is it a number, for task = \
             \"regression\"?",
            column.name(),
            classes.len()
        );
        return Err(table.error(reason));
    }
    Ok(TargetKind::Classes { classes })
}

const MOST_CLASSES: usize = 10_000;

/// So many numbers are classes without asking.
const MOST_NUMBERS: usize = 50;
