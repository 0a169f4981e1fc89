//! Sets of options, declared once.

use serde_json::Map;
use toml::Table;

use crate::{ConfigError, Field, Horizon, Kind, Options, json, resolve};

/// An option that cannot be, alone or beside the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option `{option}`: {reason}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// Why it cannot be, and what to do.
    pub reason: String,
}

impl InvalidOption {
    /// An error about `option`.
    pub fn new(option: &'static str, reason: impl Into<String>) -> Self {
        Self { option, reason: reason.into() }
    }
}

/// A struct of options that [`Options`](macro@crate::Options) declared.
pub trait OptionSet: Sized {
    /// The documentation of the struct, in Markdown.
    const ABOUT: &'static str;
    /// Its options, in the order declared.
    const FIELDS: &'static [Field];

    /// Reads each option, without a look at how they go together.
    #[doc(hidden)]
    fn read_for(options: &Options, horizon: Option<Horizon>) -> Result<Self, ConfigError>;

    /// Writes each option that is set into `table`.
    fn write_into(&self, table: &mut Table);

    /// Checks each value by itself, for a set that was made in code.
    ///
    /// # Errors
    /// The first option that is out of its range.
    fn check_ranges(&self) -> Result<(), InvalidOption>;

    /// Checks what `#[options(check = ..)]` says of the options together.
    ///
    /// # Errors
    /// The first option that cannot be beside the others.
    fn check_together(&self) -> Result<(), InvalidOption>;

    /// Reads and checks resolved options, those of schedules for a run of `horizon`.
    ///
    /// # Errors
    /// What is wrong with them, by key.
    fn read_over(options: &Options, horizon: Option<Horizon>) -> Result<Self, ConfigError> {
        let set = Self::read_for(options, horizon)?;
        set.check_together().map_err(|error| options.invalid(error.option, error.reason))?;
        Ok(set)
    }

    /// Reads and checks resolved options.
    ///
    /// # Errors
    /// What is wrong with them, by key.
    fn from_options(options: &Options) -> Result<Self, ConfigError> {
        Self::read_over(options, None)
    }

    /// Reads the table that stands at `path` of a config.
    ///
    /// # Errors
    /// What is wrong with it, by key; see [`resolve`].
    fn from_toml(path: &str, given: &Table) -> Result<Self, ConfigError> {
        Self::from_options(&resolve(path, Self::FIELDS, given)?)
    }

    /// The options as TOML, defaults written out, in the order declared.
    fn to_toml(&self) -> Table {
        let mut table = Table::new();
        self.write_into(&mut table);
        table
    }

    /// Reads a JSON object, where null is the same as nothing; returns the set, and the keys that are no
    /// options, by their paths.
    ///
    /// # Errors
    /// What is wrong with it, by key.
    fn from_json(
        path: &str,
        given: &Map<String, serde_json::Value>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let (table, unknown) = json::table_from_json(Self::FIELDS, given);
        Ok((Self::from_toml(path, &table)?, unknown))
    }

    /// The options as a JSON object; unset ones are null.
    fn to_json(&self) -> Map<String, serde_json::Value> {
        json::from_table(Self::FIELDS, &self.to_toml())
    }

    /// The kind of the option `name`.
    #[doc(hidden)]
    fn kind_of(name: &str) -> Kind {
        let field = Self::FIELDS.iter().find(|field| field.name == name);
        field.map_or(Kind::Raw, |field| field.kind)
    }
}
