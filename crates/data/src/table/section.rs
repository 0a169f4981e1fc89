//! The section `data` of a config that learns from a table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rappel_registry::{ConfigError, Field, Kind, Options, Range, joined};

use super::encoding::MOST_BUCKETS;
use super::{Format, MISSING_VALUES, Missing, ReadAs, Reading, Table, Wanted, date};
use crate::{DRAWING, DataError};

/// The keys of the section.
pub static TABLE: &[Field] = &joined::<{ OWN.len() + DRAWING.len() }>(&[OWN, DRAWING]);

const OWN: &[Field] = &[
    Field::required("file", Kind::Path(&[]), "the table: .csv, .tsv or .parquet")
        .aka(&["path", "train_file", "files"]),
    Field::required("target", Kind::Str, "the column that is predicted")
        .aka(&["label", "y", "target_column"]),
    Field::optional("features", Kind::Strings, "the columns it is predicted from; unset: all others")
        .aka(&["columns", "x"]),
    Field::new("exclude", Kind::Strings, "[]", "columns that are no features, such as an id")
        .aka(&["drop", "ignore"]),
    Field::new(
        "categorical",
        Kind::Strings,
        "[]",
        "columns that are names though they look like numbers, or are nearly all different; what holds \
         text is names anyway",
    )
    .aka(&["categorical_features", "categories"]),
    Field::new("numeric", Kind::Strings, "[]", "features that are numbers: anything else in them is an error")
        .aka(&["numerical", "numeric_features"]),
    Field::new("dates", Kind::Strings, "[]", "features that are dates or times: days since 1970-01-01, in UTC")
        .aka(&["date_columns", "parse_dates", "datetime"]),
    Field::new(
        "hash",
        Kind::Strings,
        "[]",
        "features whose names share `hash_buckets` inputs by their hash, such as those of very many",
    )
    .aka(&["hashed", "hash_columns"]),
    Field::new("hash_buckets", Kind::Int { min: 1, max: MOST_BUCKETS as i64 }, "256", "inputs of each column of `hash`"),
    Field::new(
        "missing",
        Kind::OneOf(Missing::NAMES),
        "\"mean\"",
        "what stands in for a missing feature, by the training rows; for a name the most frequent",
    )
    .aka(&["imputation", "strategy"]),
    Field::new(
        "missing_indicator",
        Kind::Bool,
        "true",
        "a feature more, 1 where the value is missing, for each that misses some",
    )
    .aka(&["add_indicator"]),
    Field::new(
        "standardize",
        Kind::Bool,
        "true",
        "numbers lose their mean and are divided by their deviation, both of the training rows",
    )
    .aka(&["normalize", "scale", "standardise"]),
    Field::optional(
        "delimiter",
        Kind::Str,
        "what stands between the cells of a CSV; unset: that of , ; | and tab which its first line has most of",
    )
    .aka(&["sep", "separator"]),
    Field::new("decimal", Kind::OneOf(&[".", ","]), "\".\"", "what stands before the fraction of a number"),
    Field::optional("thousands", Kind::Str, "what stands between groups of digits; unset: nothing does")
        .aka(&["thousands_separator"]),
    Field::new(
        "missing_values",
        Kind::Strings,
        "[]",
        "more cells that mean a missing value, beside those of `default_missing_values`",
    )
    .aka(&["na_values"]),
    Field::new(
        "default_missing_values",
        Kind::Bool,
        "true",
        "whether NA, N/A, n/a, #N/A, NaN, nan, NULL, null, None and the like mean one; an empty cell does",
    )
    .aka(&["keep_default_na"]),
    Field::optional("date_format", Kind::Str, "how dates are written, such as \"%d.%m.%Y\"; unset: ISO 8601"),
    Field::optional("validation_file", Kind::Path(&[]), "a table to validate on")
        .aka(&["test_file", "eval_file"]),
    Field::optional(
        "validation_fraction",
        Kind::Float(Range::from(0.0).below(1.0)),
        "share of the rows, drawn by the seed, to validate on; unset: 0.2, or 0 with a validation_file",
    )
    .aka(&["val_fraction", "validation_split", "test_size"]),
];

/// The section, checked.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "one for each key")]
pub struct TableConfig {
    /// The table.
    pub file: PathBuf,
    /// The column that is predicted.
    pub target: String,
    /// Those that it is predicted from, where they are named.
    pub features: Option<Vec<String>>,
    /// Those that are no features.
    pub exclude: Vec<String>,
    /// Those that are names whatever they look like.
    pub categorical: Vec<String>,
    /// Those that are numbers.
    pub numeric: Vec<String>,
    /// Those that are dates.
    pub dates: Vec<String>,
    /// Those whose names share inputs.
    pub hash: Vec<String>,
    /// How many inputs each of them has.
    pub hash_buckets: usize,
    /// What stands in for a missing feature.
    pub missing: Missing,
    /// Whether a feature more says what was missing.
    pub missing_indicator: bool,
    /// Whether numbers come in standard units.
    pub standardize: bool,
    /// How cells are written.
    pub format: Format,
    /// A table to validate on.
    pub validation_file: Option<PathBuf>,
    /// Share of the rows to validate on.
    pub validation_fraction: f64,
}

impl TableConfig {
    /// Reads resolved options of [`TABLE`].
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn from_options(options: &Options) -> Result<Self, ConfigError> {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let config = Self {
            file: options.str("file").into(),
            target: options.str("target").to_owned(),
            features: options.opt_strings("features").map(owned),
            exclude: owned(options.strings("exclude")),
            categorical: owned(options.strings("categorical")),
            numeric: owned(options.strings("numeric")),
            dates: owned(options.strings("dates")),
            hash: owned(options.strings("hash")),
            hash_buckets: options.usize("hash_buckets"),
            missing: Missing::by_name(options.str("missing")),
            missing_indicator: options.bool("missing_indicator"),
            standardize: options.bool("standardize"),
            format: format(options)?,
            validation_file: options.opt_str("validation_file").map(PathBuf::from),
            validation_fraction: validation_fraction(options)?,
        };
        config.check(options).map(|()| config)
    }

    fn check(&self, options: &Options) -> Result<(), ConfigError> {
        let listed =
            |name: &str| self.features.as_ref().is_none_or(|of| of.iter().any(|f| f == name));
        if self.features.is_some() && listed(&self.target) {
            let reason = format!("`{}` is the target, too; leave it out", self.target);
            return Err(options.invalid("features", reason));
        }
        let features = self.features.as_deref().unwrap_or_default();
        if self.features.is_some() && features.is_empty() {
            let reason =
                "is an empty list; name the columns to predict from, or leave it out for all";
            return Err(options.invalid("features", reason));
        }
        if let Some(i) = (1..features.len()).find(|i| features[..*i].contains(&features[*i])) {
            let reason = format!("`{}` is named twice; name it once", features[i]);
            return Err(options.invalid("features", reason));
        }
        if let Some(name) = self.exclude.iter().find(|name| self.features.is_some() && listed(name))
        {
            let reason = format!("`{name}` is among data.features, too; name it in one of both");
            return Err(options.invalid("exclude", reason));
        }
        let mut given = HashMap::new();
        for (name, key) in self.roles() {
            if let Some(other) = given.insert(name, key) {
                let reason = format!("`{name}` is among data.{other}, too; name it once");
                return Err(options.invalid(key, reason));
            }
            // A target of numbers may have to be told to be names.
            let is_target = *name == self.target;
            if is_target && key == "categorical" {
                continue;
            }
            if is_target || !listed(name) || self.exclude.contains(name) {
                let reason =
                    format!("`{name}` is no feature; name it among data.features, or leave it out");
                return Err(options.invalid(key, reason));
            }
        }
        Ok(())
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
        Table::read_as(path, &Reading { format: self.format.clone(), columns, others })
    }
}

fn format(options: &Options) -> Result<Format, ConfigError> {
    let one = |key: &'static str| {
        let Some(text) = options.opt_str(key) else { return Ok(None) };
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(Some(only)),
            _ => Err(options.invalid(key, format!("wants one character, got \"{text}\""))),
        }
    };
    let (delimiter, thousands) = (one("delimiter")?, one("thousands")?);
    if delimiter.is_some_and(|c| !c.is_ascii() || matches!(c, '"' | '\r' | '\n')) {
        let reason = "wants a character of ASCII that is neither a quote nor a line's end";
        return Err(options.invalid("delimiter", reason));
    }
    let decimal = options.str("decimal").chars().next().unwrap_or('.');
    if thousands.is_some_and(|c| c == decimal || c.is_ascii_digit() || matches!(c, '-' | '+')) {
        let reason = format!("must be neither data.decimal, \"{decimal}\", nor a digit or a sign");
        return Err(options.invalid("thousands", reason));
    }
    let date_format = options.opt_str("date_format").map(str::to_owned);
    if let Some(format) = date_format.as_ref().filter(|format| !date::is_format(format)) {
        let reason = format!("\"{format}\" is no format of dates, such as \"%d.%m.%Y %H:%M\"");
        return Err(options.invalid("date_format", reason));
    }
    let default = if options.bool("default_missing_values") { MISSING_VALUES } else { &[] };
    let more = options.strings("missing_values");
    let missing_values = default.iter().copied().chain(more).map(str::to_owned).collect();
    Ok(Format { delimiter, decimal, thousands, missing_values, date_format })
}

fn validation_fraction(options: &Options) -> Result<f64, ConfigError> {
    let apart = options.opt_str("validation_file").is_some();
    match options.opt_f64("validation_fraction") {
        Some(share) if apart && share > 0.0 => {
            let reason = "validation_file is given too; give one of both";
            Err(options.invalid("validation_fraction", reason))
        }
        Some(share) => Ok(share),
        None => Ok(if apart { 0.0 } else { 0.2 }),
    }
}
