//! Checked options with every default filled in.

use toml::{Table, Value};

use crate::resolve::join;
use crate::{ConfigError, Horizon, Place, Range};

/// Checked options with every default filled in, as [`resolve`](crate::resolve) returns them.
///
/// A getter is asked for a declared key by its declared kind. Asking otherwise is a mistake of the
/// asking code, not of the config, so it panics at the asking line.
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

/// The value of an option of [`Kind::Scheduled`](crate::Kind::Scheduled), or of
/// [`Kind::Count`](crate::Kind::Count) where it is not a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scheduled<'a> {
    /// The same number at every step.
    Number(f64),
    /// The resolved table that describes a curve, and the range its values must keep.
    Table(&'a Options, Range),
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
    #[track_caller]
    pub fn name(&self) -> &str {
        self.str("name")
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

    /// A float, unset as `None`.
    #[track_caller]
    pub fn opt_f64(&self, key: &str) -> Option<f64> {
        self.get(key, "a float", Value::as_float)
    }

    /// An integer, unset as `None`.
    #[track_caller]
    pub fn opt_i64(&self, key: &str) -> Option<i64> {
        self.get(key, "an integer", Value::as_integer)
    }

    /// An integer declared with a minimum of at least 0, unset as `None`.
    #[track_caller]
    pub fn opt_u64(&self, key: &str) -> Option<u64> {
        self.get(key, "an integer >= 0", |value| u64::try_from(value.as_integer()?).ok())
    }

    /// An integer declared with a minimum of at least 0, unset as `None`.
    #[track_caller]
    pub fn opt_usize(&self, key: &str) -> Option<usize> {
        self.get(key, "an integer >= 0", |value| usize::try_from(value.as_integer()?).ok())
    }

    /// A truth value, unset as `None`.
    #[track_caller]
    pub fn opt_bool(&self, key: &str) -> Option<bool> {
        self.get(key, "true or false", Value::as_bool)
    }

    /// A text, unset as `None`.
    #[track_caller]
    pub fn opt_str(&self, key: &str) -> Option<&str> {
        self.get(key, "a string", Value::as_str)
    }

    /// A list of floats, unset as `None`.
    #[track_caller]
    pub fn opt_floats(&self, key: &str) -> Option<Vec<f64>> {
        let all = |value: &Value| value.as_array()?.iter().map(Value::as_float).collect();
        self.get(key, "a list of floats", all)
    }

    /// A list of texts, unset as `None`.
    #[track_caller]
    pub fn opt_strings(&self, key: &str) -> Option<Vec<&str>> {
        self.get(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// A list of integers declared with a minimum of at least 0, unset as `None`.
    #[track_caller]
    pub fn opt_usizes(&self, key: &str) -> Option<Vec<usize>> {
        let one = |value: &Value| usize::try_from(value.as_integer()?).ok();
        self.get(key, "a list of integers >= 0", |value| {
            value.as_array()?.iter().map(one).collect()
        })
    }

    /// A number or a schedule's table, unset as `None`.
    #[track_caller]
    pub fn opt_scheduled(&self, key: &str) -> Option<Scheduled<'_>> {
        match self.checked(key)? {
            Checked::Value(Value::Float(number)) => Some(Scheduled::Number(*number)),
            Checked::Value(Value::Integer(number)) => Some(Scheduled::Number(*number as f64)),
            Checked::Curve(options, range) => Some(Scheduled::Table(options, *range)),
            _ => self.not_declared_as(key, "a number or a schedule"),
        }
    }

    /// The word that stands for a number, of an option of [`Kind::Count`](crate::Kind::Count).
    #[track_caller]
    pub fn word(&self, key: &str) -> Option<&str> {
        match self.checked(key)? {
            Checked::Value(value) => value.as_str(),
            _ => None,
        }
    }

    /// A table's options, unset as `None`.
    #[track_caller]
    pub fn opt_table(&self, key: &str) -> Option<&Options> {
        match self.checked(key)? {
            Checked::Options(options) => Some(options),
            _ => self.not_declared_as(key, "a table"),
        }
    }

    /// The options of each table of a list; none where unset.
    #[track_caller]
    pub fn tables(&self, key: &str) -> Vec<Options> {
        match self.checked(key) {
            None => Vec::new(),
            Some(Checked::List(list)) => list
                .iter()
                .map(|item| match item {
                    Checked::Options(options) => options.clone(),
                    _ => self.not_declared_as(key, "a list of tables"),
                })
                .collect(),
            Some(_) => self.not_declared_as(key, "a list of tables"),
        }
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

    /// A value as the config gives it, for an option of [`Kind::Raw`](crate::Kind::Raw).
    #[track_caller]
    pub fn raw(&self, key: &str) -> Option<&Value> {
        self.get(key, "any value", Some)
    }

    #[track_caller]
    fn checked(&self, key: &str) -> Option<&Checked> {
        match self.values.iter().find(|(name, _)| *name == key) {
            Some((_, value)) => value.as_ref(),
            None => panic!("`{}` is not declared", join(&self.path, key)),
        }
    }

    #[track_caller]
    fn get<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let Checked::Value(value) = self.checked(key)? else { self.not_declared_as(key, wanted) };
        match read(value) {
            Some(value) => Some(value),
            None => self.not_declared_as(key, wanted),
        }
    }

    #[track_caller]
    fn not_declared_as(&self, key: &str, wanted: &str) -> ! {
        panic!("`{}` is not declared as {wanted}", join(&self.path, key))
    }
}

macro_rules! set_getters {
    ($($(#[$doc:meta])* $name:ident, $optional:ident -> $type:ty;)*) => {
        /// Getters of options that are always set: required ones and those with a default.
        impl Options {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, key: &str) -> $type {
                match self.$optional(key) {
                    Some(value) => value,
                    None => panic!("`{}` is not set; it is declared optional", join(&self.path, key)),
                }
            }
        )*}
    };
}

set_getters! {
    /// A float.
    f64, opt_f64 -> f64;
    /// An integer.
    i64, opt_i64 -> i64;
    /// An integer declared with a minimum of at least 0.
    u64, opt_u64 -> u64;
    /// An integer declared with a minimum of at least 0.
    usize, opt_usize -> usize;
    /// A truth value.
    bool, opt_bool -> bool;
    /// A text.
    str, opt_str -> &str;
    /// A list of floats.
    floats, opt_floats -> Vec<f64>;
    /// A list of texts.
    strings, opt_strings -> Vec<&str>;
    /// A list of integers declared with a minimum of at least 0.
    usizes, opt_usizes -> Vec<usize>;
    /// A number or a schedule's table.
    scheduled, opt_scheduled -> Scheduled<'_>;
    /// A table's options.
    table, opt_table -> &Options;
}

impl Options {
    /// A list of exactly two floats, such as `betas`.
    #[track_caller]
    pub fn pair(&self, key: &str) -> [f64; 2] {
        match self.floats(key).try_into() {
            Ok(pair) => pair,
            Err(_) => self.not_declared_as(key, "a list of 2 floats"),
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
