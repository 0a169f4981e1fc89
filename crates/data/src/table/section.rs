//! The section `data` of a config that learns from a table.

use std::path::PathBuf;

use rappel_registry::{ConfigError, Field, Kind, Options, Range, joined};

use super::Missing;
use crate::DRAWING;

/// The keys of the section.
pub static TABLE: &[Field] = &joined::<{ OWN.len() + DRAWING.len() }>(OWN, DRAWING);

const OWN: &[Field] = &[
    Field::required("file", Kind::Path(&[]), "the table: .csv, .tsv or .parquet")
        .aka(&["path", "train_file", "files"])
        .changeable(),
    Field::required("target", Kind::Str, "the column that is predicted")
        .aka(&["label", "y", "target_column"]),
    Field::optional("features", Kind::Strings, "the columns it is predicted from; unset: all others")
        .aka(&["columns", "x"]),
    Field::new("exclude", Kind::Strings, "[]", "columns that are no features, such as an id")
        .aka(&["drop", "ignore"]),
    Field::optional(
        "categorical",
        Kind::Strings,
        "features that are names, each a number of its own; unset: those that hold text",
    )
    .aka(&["categorical_features", "categories"]),
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
    Field::optional("validation_file", Kind::Path(&[]), "a table to validate on")
        .aka(&["test_file", "eval_file"])
        .changeable(),
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
    /// Those that are names, where they are named.
    pub categorical: Option<Vec<String>>,
    /// What stands in for a missing feature.
    pub missing: Missing,
    /// Whether a feature more says what was missing.
    pub missing_indicator: bool,
    /// Whether numbers come in standard units.
    pub standardize: bool,
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
            categorical: options.opt_strings("categorical").map(owned),
            missing: Missing::by_name(options.str("missing")),
            missing_indicator: options.bool("missing_indicator"),
            standardize: options.bool("standardize"),
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
        let named = self.categorical.iter().flatten();
        let apart =
            |name: &&String| !listed(name) || self.exclude.contains(name) || **name == self.target;
        if let Some(name) = named.into_iter().find(apart) {
            let reason =
                format!("`{name}` is no feature; name it among data.features, or leave it out");
            return Err(options.invalid("categorical", reason));
        }
        Ok(())
    }
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
