//! Checked options with every default filled in.

use toml::{Table, Value};

use crate::resolve::join;
use crate::{ConfigError, Horizon, OptionValue, Place, Range};

/// Checked options with every default filled in, as [`resolve`](crate::resolve) returns them.
///
/// Structs of options read themselves from it; see [`OptionSet::from_options`](crate::OptionSet::from_options).
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    path: String,
    values: Vec<(&'static str, Option<Checked>)>,
}

/// A value that has passed its checks.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Checked {
    /// A scalar or a list of them; what is raw.
    Value(Value),
    /// A table.
    Options(Options),
    /// The table of a schedule, and the range that its values must keep.
    Curve(Options, Range),
    /// A list of tables.
    List(Vec<Checked>),
}

impl From<Value> for Checked {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl Options {
    pub(crate) fn new(path: String, values: Vec<(&'static str, Option<Checked>)>) -> Self {
        Self { path, values }
    }

    /// Where the table stands in the config, such as `optimizer`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The declared keys in the order declared, unset ones included.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(name, _)| *name)
    }

    /// Whether the key is declared, set or not.
    pub fn declares(&self, key: &str) -> bool {
        self.keys().any(|name| name == key)
    }

    /// The entry that a section names.
    ///
    /// # Panics
    /// If these are not the options of a section.
    #[track_caller]
    pub fn name(&self) -> &str {
        match self.checked("name") {
            Some(Checked::Value(Value::String(name))) => name,
            _ => panic!("`{}` is no section", self.path),
        }
    }

    /// The value of the option `key`; `None` where it is unset.
    ///
    /// # Errors
    /// What is wrong with its value beyond its kind.
    ///
    /// # Panics
    /// If the option is not declared, or as another kind than `T`'s.
    #[track_caller]
    pub fn get<T: OptionValue>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        self.optional(key, None, T::read)
    }

    /// The options of the table `key`; `None` where it is unset.
    ///
    /// # Panics
    /// If the option is not declared, or not as a table.
    #[track_caller]
    pub fn table(&self, key: &str) -> Option<&Self> {
        match self.checked(key)? {
            Checked::Options(options) => Some(options),
            _ => panic!("`{}` is not declared as a table", join(&self.path, key)),
        }
    }

    /// An error about one key's value, for checks that concern several options.
    ///
    /// `reason` says why the value cannot be and what to do; the key's path is put before it.
    pub fn invalid(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { key: join(&self.path, key), reason: reason.into() }
    }

    /// The options as TOML, every default written out, in the order declared.
    pub fn to_toml(&self) -> Table {
        let set = self.values.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
        set.map(|(name, value)| (name.to_owned(), value.to_toml())).collect()
    }

    /// Reads the option `key`, which is set or has a default.
    ///
    /// # Errors
    /// What is wrong with its value beyond its kind.
    #[track_caller]
    #[doc(hidden)]
    pub fn value<T>(
        &self,
        key: &str,
        horizon: Option<Horizon>,
        read: impl FnOnce(&Checked, &Place<'_>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        match self.optional(key, horizon, read)? {
            Some(value) => Ok(value),
            None => panic!("`{}` is not set; it is declared optional", join(&self.path, key)),
        }
    }

    /// Reads the option `key`, which may be unset.
    ///
    /// # Errors
    /// What is wrong with its value beyond its kind.
    #[track_caller]
    #[doc(hidden)]
    pub fn optional<T>(
        &self,
        key: &str,
        horizon: Option<Horizon>,
        read: impl FnOnce(&Checked, &Place<'_>) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        let place = Place { options: self, key: key.to_owned(), horizon };
        self.checked(key).map(|value| read(value, &place)).transpose()
    }

    /// The same options, of which `key` has `value` where it is unset.
    #[must_use]
    pub fn or(&self, key: &str, value: impl Into<Value>) -> Self {
        let mut options = self.clone();
        let unset = options.values.iter_mut().find(|(name, set)| *name == key && set.is_none());
        if let Some((_, unset)) = unset {
            *unset = Some(Checked::Value(value.into()));
        }
        options
    }

    #[track_caller]
    fn checked(&self, key: &str) -> Option<&Checked> {
        match self.values.iter().find(|(name, _)| *name == key) {
            Some((_, value)) => value.as_ref(),
            None => panic!("`{}` is not declared", join(&self.path, key)),
        }
    }
}

impl Checked {
    pub(crate) fn to_toml(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Options(options) | Self::Curve(options, _) => Value::Table(options.to_toml()),
            Self::List(list) => Value::Array(list.iter().map(Self::to_toml).collect()),
        }
    }
}
