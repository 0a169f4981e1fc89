//! What becomes of a table's rows before a model sees them, kept with the model.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::column::Holds;
use super::encoding::Training;
use super::{
    Column, Encoding, Format, Missing, ReadAs, Reading, Table, TableConfig, Target, Wanted,
};
use crate::DataError;

/// From a table to the inputs of a model, as the training rows have it: the same file that a trained
/// model keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// How cells are written.
    #[serde(default)]
    pub format: Format,
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
    /// Whether one more input says, by 1, that the value is missing.
    pub indicator: bool,
    /// What its cells become.
    pub encoding: Encoding,
}

/// A number of a model's precision.
pub trait Value: Copy {
    /// The nearest one.
    fn nearest(number: f64) -> Self;
}

impl Value for f32 {
    fn nearest(number: f64) -> Self {
        number as Self
    }
}

impl Value for f64 {
    fn nearest(number: f64) -> Self {
        number
    }
}

/// The inputs of rows: numbers, and for each column of categories the one input that is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded<T> {
    /// How many rows there are.
    pub rows: usize,
    /// `[rows, numbers_at]`
    pub numbers: Vec<T>,
    /// Which inputs the numbers are.
    pub numbers_at: Vec<usize>,
    /// `[rows, columns of categories]`: which inputs are 1; -1 where the category is not known.
    pub ones: Vec<i64>,
    /// What was done beyond the encoding itself, in words: values filled in, categories not known.
    pub notes: Vec<String>,
}

/// So many inputs of one column are reported.
const WIDE: usize = 100;

impl Preprocessing {
    /// Reads from the training rows of a table what becomes of any.
    ///
    /// # Errors
    /// A column that is not there, text among numbers, a number that is not finite, a column of nearly
    /// as many texts as rows, missing values where that is an error, a target that cannot be learned.
    pub fn fit(
        table: &Table,
        rows: &[usize],
        config: &TableConfig,
        wanted: Wanted,
    ) -> Result<Self, DataError> {
        let is_class = config.categorical.contains(&config.target);
        let target = Target::fit(table, &config.target, rows, wanted, is_class)?;
        let mut features = Vec::new();
        for name in names(table, config)? {
            let column = table.column(name)?;
            let training = Training { table, column, rows, missing: config.missing };
            let encoding = match role(table, column, config)? {
                Role::Number => training.numeric(config.standardize, false)?,
                Role::Date => training.numeric(config.standardize, true)?,
                Role::Hashed => training.hashed(config.hash_buckets)?,
                Role::Categories { asked } => training.categorical(asked)?,
            };
            let misses = rows.iter().any(|row| column.is_missing(*row));
            let indicator = misses && config.missing_indicator && config.missing != Missing::Error;
            features.push(Feature { name: name.to_owned(), indicator, encoding });
        }
        if features.is_empty() {
            return Err(
                table.error("has no column to predict from, beside the target and data.exclude")
            );
        }
        Ok(Self { format: config.format(), target, features })
    }

    /// Reads a table with the features, and the target where it is wanted; other columns are skipped.
    ///
    /// # Errors
    /// As [`Table::read_as`].
    pub fn read(&self, path: &Path, with_target: bool) -> Result<Table, DataError> {
        let of = |feature: &Feature| {
            let read_as = match feature.encoding {
                Encoding::Numeric { date: true, .. } => ReadAs::Date,
                Encoding::Numeric { .. } => ReadAs::Number,
                _ => ReadAs::Text,
            };
            (feature.name.clone(), read_as)
        };
        let target = with_target.then(|| (self.target.name.clone(), self.target.read_as()));
        let columns = self.features.iter().map(of).chain(target).collect();
        let reading = Reading { format: self.format.clone(), columns, others: ReadAs::Nothing };
        Table::read_as(path, &reading)
    }

    /// How many inputs a model of it has.
    pub fn width(&self) -> usize {
        self.features.iter().map(Feature::width).sum()
    }

    /// The names of a row's inputs: columns, `column=category`, `column is missing`.
    pub fn inputs(&self) -> Vec<String> {
        let of = |feature: &Feature| {
            let name = &feature.name;
            let mut inputs = match &feature.encoding {
                Encoding::Numeric { .. } => vec![name.clone()],
                Encoding::Categorical { categories, .. } => {
                    categories.iter().map(|category| format!("{name}={category}")).collect()
                }
                Encoding::Hashed { buckets, .. } => {
                    (0..*buckets).map(|bucket| format!("{name} hashed to {bucket}")).collect()
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
                _ => None,
            };
            let mut scales = vec![(0.0, 1.0); feature.width()];
            scales.iter_mut().zip(first).for_each(|(scale, first)| *scale = first);
            scales
        };
        self.features.iter().flat_map(of).collect()
    }

    /// What is to be said of columns that have very many inputs.
    pub fn notes(&self) -> Vec<String> {
        let wide = |feature: &&Feature| {
            matches!(feature.encoding, Encoding::Categorical { .. })
                && feature.encoding.width() > WIDE
        };
        let note = |feature: &Feature| {
            format!(
                "column `{}`: {} categories, each an input of its own; data.hash would share fewer",
                feature.name,
                feature.encoding.width()
            )
        };
        self.features.iter().filter(wide).map(note).collect()
    }

    /// The features of rows; the target's column need not be there.
    ///
    /// A category that the training rows did not have is none of the known ones, and is reported.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), but for the target.
    pub fn encode<T: Value>(&self, table: &Table, rows: &[usize]) -> Result<Encoded<T>, DataError> {
        let (numbers_at, texts) = self.layout();
        let mut encoded = Encoded {
            rows: rows.len(),
            numbers: vec![T::nearest(0.0); rows.len() * numbers_at.len()],
            numbers_at,
            ones: vec![-1; rows.len() * texts],
            notes: vec![],
        };
        let (mut input, mut number, mut text) = (0, 0, 0);
        for feature in &self.features {
            let cells = Cells { table, column: table.column(&feature.name)?, rows };
            let width = encoded.numbers_at.len();
            if matches!(feature.encoding, Encoding::Numeric { .. }) {
                let column = encoded.numbers.iter_mut().skip(number).step_by(width.max(1));
                feature.numbers(&cells, column, &mut encoded.notes)?;
                number += 1;
            } else {
                let column = encoded.ones.iter_mut().skip(text).step_by(texts);
                feature.ones(&cells, input, column, &mut encoded.notes)?;
                text += 1;
            }
            if feature.indicator {
                let missing = rows.iter().map(|row| cells.column.is_missing(*row));
                let column = encoded.numbers.iter_mut().skip(number).step_by(width.max(1));
                missing.zip(column).for_each(|(is, to)| *to = T::nearest(f64::from(is)));
                number += 1;
            }
            input += feature.width();
        }
        Ok(encoded)
    }

    /// Which inputs are numbers.
    pub fn numbers_at(&self) -> Vec<usize> {
        self.layout().0
    }

    /// Which inputs are numbers, and how many columns of categories there are.
    fn layout(&self) -> (Vec<usize>, usize) {
        let (mut numbers, mut texts, mut input) = (Vec::new(), 0, 0);
        for feature in &self.features {
            match feature.encoding {
                Encoding::Numeric { .. } => numbers.push(input),
                _ => texts += 1,
            }
            input += feature.width();
            numbers.extend(feature.indicator.then(|| input - 1));
        }
        (numbers, texts)
    }
}

/// The cells of a column that are encoded.
struct Cells<'a> {
    table: &'a Table,
    column: &'a Column,
    rows: &'a [usize],
}

impl Cells<'_> {
    /// A value that is missing where nothing stands in for it.
    fn needed(&self, row: usize) -> DataError {
        let reason = "a value is missing; fill it in, or set data.missing to what stands in for it";
        self.table.cell(self.column, row, reason)
    }
}

impl Feature {
    /// How many of a row's numbers are this column's, its mark of a missing value included.
    pub fn width(&self) -> usize {
        self.encoding.width() + usize::from(self.indicator)
    }

    /// How many of a row's numbers are this column's, and how many of its ones.
    pub fn columns(&self) -> [usize; 2] {
        let mark = usize::from(self.indicator);
        match self.encoding {
            Encoding::Numeric { .. } => [1 + mark, 0],
            _ => [mark, 1],
        }
    }

    /// A number for each cell.
    fn numbers<'t, T: Value + 't>(
        &self,
        cells: &Cells,
        to: impl Iterator<Item = &'t mut T>,
        notes: &mut Vec<String>,
    ) -> Result<(), DataError> {
        let Encoding::Numeric { fill, mean, std, .. } = &self.encoding else { return Ok(()) };
        let mut filled = 0;
        for (&row, to) in cells.rows.iter().zip(to) {
            let given = cells.table.number(cells.column, row)?;
            filled += usize::from(given.is_none());
            let number = given.or(*fill).ok_or_else(|| cells.needed(row))?;
            *to = T::nearest((number - mean) / std);
        }
        let by = fill.map_or_else(String::new, |fill| fill.to_string());
        notes.extend(self.of_filled(filled, &by));
        Ok(())
    }

    /// For each cell the input that is 1, where those of the column begin with `first`.
    fn ones<'t>(
        &self,
        cells: &Cells,
        first: usize,
        to: impl Iterator<Item = &'t mut i64>,
        notes: &mut Vec<String>,
    ) -> Result<(), DataError> {
        let fill = match &self.encoding {
            Encoding::Numeric { .. } => return Ok(()),
            Encoding::Categorical { fill, .. } | Encoding::Hashed { fill, .. } => fill.as_deref(),
        };
        let (texts, numbers) = cells.table.texts(cells.column)?;
        let input = |text: &str| self.encoding.input(text).map_or(-1, |at| (first + at) as i64);
        let inputs: Vec<i64> = texts.iter().map(|text| input(text)).collect();
        let (mut filled, mut unknown, mut example) = (0, 0, "");
        for (&row, to) in cells.rows.iter().zip(to) {
            let number = numbers[row] as usize;
            if let Some(known) = inputs.get(number) {
                *to = *known;
                if *known < 0 {
                    unknown += 1;
                    example = if unknown == 1 { texts[number] } else { example };
                }
            } else {
                *to = input(fill.ok_or_else(|| cells.needed(row))?);
                filled += 1;
            }
        }
        notes.extend(self.of_filled(filled, fill.unwrap_or_default()));
        let of_unknown = || {
            format!("column `{}`: {unknown} of no known category, such as `{example}`", self.name)
        };
        notes.extend((unknown > 0).then(of_unknown));
        Ok(())
    }

    fn of_filled(&self, filled: usize, by: &str) -> Option<String> {
        (filled > 0).then(|| format!("column `{}`: {filled} missing, taken for {by}", self.name))
    }
}

/// The features by name: those listed, or all but the target and those excluded.
fn names<'a>(table: &'a Table, config: &'a TableConfig) -> Result<Vec<&'a str>, DataError> {
    for name in config.exclude.iter().chain(config.roles().map(|(name, _)| name)) {
        table.column(name)?;
    }
    if let Some(features) = &config.features {
        return Ok(features.iter().map(String::as_str).collect());
    }
    let left_out =
        |name: &&str| *name != config.target && !config.exclude.iter().any(|e| e == name);
    Ok(table.names().into_iter().filter(left_out).collect())
}

/// What a feature's cells are.
enum Role {
    Number,
    Date,
    Hashed,
    Categories { asked: bool },
}

/// What a column is by the config; where that does not say, categories are those of text alone.
fn role(table: &Table, column: &Column, config: &TableConfig) -> Result<Role, DataError> {
    let named = |names: &[String]| names.iter().any(|name| name == column.name());
    if named(&config.categorical) {
        return Ok(Role::Categories { asked: true });
    }
    if named(&config.hash) {
        return Ok(Role::Hashed);
    }
    if named(&config.dates) {
        return Ok(Role::Date);
    }
    match column.holds() {
        Holds::Nothing | Holds::Numbers => Ok(Role::Number),
        Holds::Texts => Ok(Role::Categories { asked: false }),
        Holds::Both { row, others, text } => {
            let cell = column.text(row).unwrap_or_default();
            let kinds = if text { ["not a number", "numbers"] } else { ["a number", "text"] };
            let reason = format!(
                "`{cell}` is {}, while {others} other cells are {}; correct it, or name the column in \
                 data.categorical",
                kinds[0], kinds[1]
            );
            Err(table.cell(column, row, &reason))
        }
    }
}
