//! The section `data` of a config that learns from a table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rappel_config::{InvalidOption, Options, Words};

use super::encoding::MOST_BUCKETS;
use super::{Format, MISSING_VALUES, Missing, ReadAs, Reading, Table, Wanted, date};
use crate::{DataError, Drawing};

/// What stands before the fraction of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Decimal {
    /// As in 1.5.
    #[word(".")]
    Point,
    /// As in 1,5.
    #[word(",")]
    Comma,
}

impl Decimal {
    fn char(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }
}

/// The section `data` of a config that learns from a table.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
#[allow(clippy::struct_excessive_bools, reason = "one for each key")]
pub struct TableConfig {
    /// the table: .csv, .tsv or .parquet
    #[option(aka("path", "train_file", "files"))]
    pub file: PathBuf,
    /// the column that is predicted
    #[option(aka("label", "y", "target_column"))]
    pub target: String,
    /// the columns it is predicted from; unset: all others
    #[option(aka("columns", "x"))]
    pub features: Option<Vec<String>>,
    /// columns that are not features, such as an id
    #[option(default, aka("drop", "ignore"))]
    pub exclude: Vec<String>,
    /// columns that are names though they look like numbers, or are nearly all different; what holds text
    /// is names anyway
    #[option(default, aka("categorical_features", "categories"))]
    pub categorical: Vec<String>,
    /// features that are numbers: anything else in them is an error
    #[option(default, aka("numerical", "numeric_features"))]
    pub numeric: Vec<String>,
    /// features that are dates or times: days since 1970-01-01, in UTC
    #[option(default, aka("date_columns", "parse_dates", "datetime"))]
    pub dates: Vec<String>,
    /// features whose names share `hash_buckets` inputs by their hash, such as those of very many
    #[option(default, aka("hashed", "hash_columns"))]
    pub hash: Vec<String>,
    /// inputs of each column of `hash`
    #[option(default = 256, range = 1..=MOST_BUCKETS)]
    pub hash_buckets: usize,
    /// what stands in for a missing feature, by the training rows; for a name the most frequent
    #[option(default = Missing::Mean, aka("imputation", "strategy"))]
    pub missing: Missing,
    /// a feature more, 1 where the value is missing, for each that misses some
    #[option(default = true, aka("add_indicator"))]
    pub missing_indicator: bool,
    /// numbers lose their mean and are divided by their deviation, both of the training rows
    #[option(default = true, aka("normalize", "scale", "standardise"))]
    pub standardize: bool,
    /// what stands between the cells of a CSV; unset: that of , ; | and tab which its first line has
    /// most of
    #[option(aka("sep", "separator"))]
    pub delimiter: Option<char>,
    /// what stands before the fraction of a number
    #[option(default = Decimal::Point)]
    pub decimal: Decimal,
    /// what stands between groups of digits; unset: nothing does
    #[option(aka("thousands_separator"))]
    pub thousands: Option<char>,
    /// more cells that mean a missing value, beside those of `default_missing_values`
    #[option(default, aka("na_values"))]
    pub missing_values: Vec<String>,
    /// whether NA, N/A, n/a, #N/A, NaN, nan, NULL, null, None and the like mean one; an empty cell does
    #[option(default = true, aka("keep_default_na"))]
    pub default_missing_values: bool,
    /// how dates are written, such as "%d.%m.%Y"; unset: ISO 8601
    pub date_format: Option<String>,
    /// a table to validate on
    #[option(aka("test_file", "eval_file"))]
    pub validation_file: Option<PathBuf>,
    /// share of the rows, drawn by the seed, to validate on; unset: 0.2, or 0 with a validation_file
    #[option(unset = if validation_file.is_some() { 0.0 } else { 0.2 }, range = 0.0..1.0)]
    #[option(aka("val_fraction", "validation_split", "test_size"))]
    pub validation_fraction: f64,
    /// How samples are drawn.
    #[option(flatten)]
    pub drawing: Drawing,
}

impl TableConfig {
    fn check(&self) -> Result<(), InvalidOption> {
        let listed =
            |name: &str| self.features.as_ref().is_none_or(|of| of.iter().any(|f| f == name));
        if self.features.is_some() && listed(&self.target) {
            let reason = format!("`{}` is the target, too; leave it out", self.target);
            return Err(InvalidOption::new("features", reason));
        }
        let features = self.features.as_deref().unwrap_or_default();
        if self.features.is_some() && features.is_empty() {
            let reason =
                "is an empty list; name the columns to predict from, or leave it out for all";
            return Err(InvalidOption::new("features", reason));
        }
        if let Some(i) = (1..features.len()).find(|i| features[..*i].contains(&features[*i])) {
            let reason = format!("`{}` is named twice; name it once", features[i]);
            return Err(InvalidOption::new("features", reason));
        }
        if let Some(name) = self.exclude.iter().find(|name| self.features.is_some() && listed(name))
        {
            let reason = format!("`{name}` is among data.features, too; name it in one of both");
            return Err(InvalidOption::new("exclude", reason));
        }
        let mut given = HashMap::new();
        for (name, key) in self.roles() {
            if let Some(other) = given.insert(name, key) {
                let reason = format!("`{name}` is among data.{other}, too; name it once");
                return Err(InvalidOption::new(key, reason));
            }
            // A target of numbers may have to be told to be names.
            let is_target = *name == self.target;
            if is_target && key == "categorical" {
                continue;
            }
            if is_target || !listed(name) || self.exclude.contains(name) {
                let reason = format!(
                    "`{name}` is not a feature; name it among data.features, or leave it out"
                );
                return Err(InvalidOption::new(key, reason));
            }
        }
        self.check_format()?;
        if self.validation_file.is_some() && self.validation_fraction > 0.0 {
            let reason = "validation_file is given too; give one of both";
            return Err(InvalidOption::new("validation_fraction", reason));
        }
        Ok(())
    }

    fn check_format(&self) -> Result<(), InvalidOption> {
        if self.delimiter.is_some_and(|c| !c.is_ascii() || matches!(c, '"' | '\r' | '\n')) {
            let reason = "expected an ASCII character other than a quote or a line break";
            return Err(InvalidOption::new("delimiter", reason));
        }
        let decimal = self.decimal.char();
        let taken = |c: char| c == decimal || c.is_ascii_digit() || matches!(c, '-' | '+');
        if self.thousands.is_some_and(taken) {
            let reason =
                format!("must be neither data.decimal, \"{decimal}\", nor a digit or a sign");
            return Err(InvalidOption::new("thousands", reason));
        }
        if let Some(format) = self.date_format.as_ref().filter(|format| !date::is_format(format)) {
            let reason = format!("\"{format}\" is not a date format, such as \"%d.%m.%Y %H:%M\"");
            return Err(InvalidOption::new("date_format", reason));
        }
        Ok(())
    }

    /// How cells are written.
    pub fn format(&self) -> Format {
        let default = if self.default_missing_values { MISSING_VALUES } else { &[] };
        let default = default.iter().map(|word| (*word).to_owned());
        Format {
            delimiter: self.delimiter,
            decimal: self.decimal.char(),
            thousands: self.thousands,
            missing_values: default.chain(self.missing_values.iter().cloned()).collect(),
            date_format: self.date_format.clone(),
        }
    }

    /// The columns of which the config says what they are, and the key that says it.
    pub(super) fn roles(&self) -> impl Iterator<Item = (&String, &'static str)> {
        let of = [
            (&self.categorical, "categorical"),
            (&self.numeric, "numeric"),
            (&self.dates, "dates"),
            (&self.hash, "hash"),
        ];
        of.into_iter().flat_map(|(names, key)| names.iter().map(move |name| (name, key)))
    }

    /// Reads a table of its columns: the file itself, or one to validate on.
    ///
    /// # Errors
    /// As [`Table::read_as`].
    pub fn read(&self, path: &Path, wanted: Wanted) -> Result<Table, DataError> {
        let mut columns: HashMap<String, ReadAs> = HashMap::new();
        let features = self.features.iter().flatten();
        columns.extend(features.map(|name| (name.clone(), ReadAs::Either)));
        columns.extend(self.exclude.iter().map(|name| (name.clone(), ReadAs::Nothing)));
        columns.extend(self.roles().map(|(name, key)| {
            let read_as = match key {
                "numeric" => ReadAs::Number,
                "dates" => ReadAs::Date,
                _ => ReadAs::Text,
            };
            (name.clone(), read_as)
        }));
        let target = match wanted {
            Wanted::Number { .. } => ReadAs::Number,
            Wanted::Classes => ReadAs::Text,
        };
        columns.insert(self.target.clone(), target);
        let others = if self.features.is_some() { ReadAs::Nothing } else { ReadAs::Either };
        Table::read_as(path, &Reading { format: self.format(), columns, others })
    }
}
