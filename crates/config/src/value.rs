//! The types that an option's field may have.

use std::path::PathBuf;

use toml::{Table, Value};

use crate::options::Checked;
use crate::{ConfigError, Kind, OptionSet, Options, Range};

/// The run that options are for: schedules are functions of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// How many optimizer steps the run takes.
    pub steps: u64,
}

/// Where a value stands: what its reader needs beside the value itself.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The options that it is one of.
    pub options: &'a Options,
    /// Its key in them, such as `lr` or `betas[1]`.
    pub key: String,
    /// The run, where it is known.
    pub horizon: Option<Horizon>,
}

impl Place<'_> {
    /// An error about the value here; `reason` says why it cannot be and what to do.
    pub fn invalid(&self, reason: impl Into<String>) -> ConfigError {
        self.options.invalid(&self.key, reason)
    }

    /// The place of the item `i` of the list that stands here.
    pub fn item(&self, i: usize) -> Self {
        Self { key: format!("{}[{i}]", self.key), ..self.clone() }
    }
}

/// The type of a field of a set of options; see [`Options`](macro@crate::Options).
///
/// Its [`KIND`](OptionValue::KIND) says which values of a config it takes; they are checked before
/// [`read`](OptionValue::read) sees them.
pub trait OptionValue: Sized {
    /// The values taken, without the range that the field gives.
    const KIND: Kind;
    /// The values that a list of it takes; `None` where there are no such lists.
    const LIST: Option<Kind> = None;

    /// Reads a value that has been checked against the field's kind.
    ///
    /// # Errors
    /// What is wrong with it beyond its kind.
    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError>;

    /// The value as a config gives it; `None` where no config can.
    fn write(&self) -> Option<Value>;

    /// Why `kind` does not take the value, for sets of options that are made in code.
    ///
    /// # Errors
    /// The reason, for the user.
    fn check(&self, _kind: Kind) -> Result<(), String> {
        Ok(())
    }
}

/// How a field of type `T` is read and written, where `T` is of a crate that knows no options: what
/// `#[option(with = ..)]` names, mostly a struct without fields.
pub trait OptionAs<T> {
    /// As [`OptionValue::KIND`].
    const KIND: Kind;

    /// As [`OptionValue::read`].
    ///
    /// # Errors
    /// What is wrong with the value beyond its kind.
    fn read(value: &Checked, place: &Place<'_>) -> Result<T, ConfigError>;

    /// As [`OptionValue::write`].
    fn write(value: &T) -> Option<Value>;
}

/// The value of a scalar, as `read` finds it.
#[track_caller]
fn scalar<'a, T>(
    value: &'a Checked,
    place: &Place<'_>,
    read: impl FnOnce(&'a Value) -> Option<T>,
) -> T {
    let scalar = match value {
        Checked::Value(value) => read(value),
        _ => None,
    };
    scalar.unwrap_or_else(|| panic!("`{}` is declared as another kind than its field's", place.key))
}

/// Why a number is not in the range of its kind.
fn check_number(number: f64, written: &dyn std::fmt::Display, kind: Kind) -> Result<(), String> {
    match kind.range() {
        Some(range) if !range.contains(number) => match kind {
            Kind::Int { .. } => Err(format!("{written} is out of range; expected {kind}")),
            _ => Err(format!("{written} is out of range; expected {range}")),
        },
        _ => Ok(()),
    }
}

impl OptionValue for bool {
    const KIND: Kind = Kind::Bool;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        Ok(scalar(value, place, Value::as_bool))
    }

    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }
}

impl OptionValue for f64 {
    const KIND: Kind = Kind::Float(Range::FINITE);
    const LIST: Option<Kind> = Some(Kind::Floats { len: None, range: Range::FINITE });

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        Ok(scalar(value, place, Value::as_float))
    }

    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }

    fn check(&self, kind: Kind) -> Result<(), String> {
        check_number(*self, self, kind)
    }
}

macro_rules! integers {
    ($($type:ty, $min:expr, $max:expr;)*) => {$(
        impl OptionValue for $type {
            const KIND: Kind = Kind::Int { min: $min, max: $max };
            const LIST: Option<Kind> = Some(Kind::Ints { min: $min });

            fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
                Ok(scalar(value, place, |value| Self::try_from(value.as_integer()?).ok()))
            }

            fn write(&self) -> Option<Value> {
                // More than TOML holds is written as the most it holds.
                Some(i64::try_from(*self).unwrap_or(i64::MAX).into())
            }

            fn check(&self, kind: Kind) -> Result<(), String> {
                check_number(*self as f64, self, kind)
            }
        }
    )*};
}

integers! {
    u32, 0, u32::MAX as i64;
    u64, 0, i64::MAX;
    usize, 0, i64::MAX;
    i64, i64::MIN, i64::MAX;
}

impl OptionValue for String {
    const KIND: Kind = Kind::Str;
    const LIST: Option<Kind> = Some(Kind::Strings);

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        Ok(scalar(value, place, Value::as_str).to_owned())
    }

    fn write(&self) -> Option<Value> {
        Some(self.as_str().into())
    }

    fn check(&self, kind: Kind) -> Result<(), String> {
        match kind {
            Kind::OneOf(words) if !words.contains(&self.as_str()) => {
                Err(format!("`{self}` is not one of {}", words.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

/// A text of one character.
impl OptionValue for char {
    const KIND: Kind = Kind::Str;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        let text = String::read(value, place)?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(place.invalid(format!("expected one character, got \"{text}\""))),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }
}

/// Takes part in the resolution of paths; see [`map_paths`](crate::map_paths).
impl OptionValue for PathBuf {
    const KIND: Kind = Kind::Path(&[]);
    const LIST: Option<Kind> = Some(Kind::Paths);

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        Ok(scalar(value, place, Value::as_str).into())
    }

    fn write(&self) -> Option<Value> {
        self.to_str().map(Value::from)
    }
}

/// Any value, as the config gives it.
impl OptionValue for Value {
    const KIND: Kind = Kind::Raw;

    fn read(value: &Checked, _: &Place<'_>) -> Result<Self, ConfigError> {
        Ok(value.to_toml())
    }

    fn write(&self) -> Option<Value> {
        Some(self.clone())
    }
}

/// Any table, as the config gives it.
impl OptionValue for Table {
    const KIND: Kind = Kind::AnyTable;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        Ok(scalar(value, place, Value::as_table).clone())
    }

    fn write(&self) -> Option<Value> {
        Some(self.clone().into())
    }
}

/// A table that is checked by a kind that the field gives, such as [`Kind::Section`].
impl OptionValue for Options {
    const KIND: Kind = Kind::AnyTable;
    const LIST: Option<Kind> = Some(Kind::Raw);

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        match value {
            Checked::Options(options) => Ok(options.clone()),
            _ => panic!("`{}` is not declared as a section", place.key),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_toml().into())
    }
}

fn read_list<T: OptionValue>(value: &Checked, place: &Place<'_>) -> Result<Vec<T>, ConfigError> {
    let item = |(i, item): (usize, &Checked)| T::read(item, &place.item(i));
    match value {
        Checked::List(items) => items.iter().enumerate().map(item).collect(),
        Checked::Value(Value::Array(items)) => {
            let items = items.iter().cloned().map(Checked::Value).enumerate();
            items.map(|(i, one)| item((i, &one))).collect()
        }
        _ => panic!("`{}` is not declared as a list", place.key),
    }
}

fn write_list<T: OptionValue>(items: &[T]) -> Option<Value> {
    items.iter().map(T::write).collect::<Option<Vec<_>>>().map(Value::Array)
}

fn check_list<T: OptionValue>(items: &[T], kind: Kind) -> Result<(), String> {
    items.iter().try_for_each(|item| item.check(kind))
}

impl<T: OptionValue> OptionValue for Vec<T> {
    const KIND: Kind = match T::LIST {
        Some(kind) => kind,
        None => panic!("there are no lists of this type"),
    };

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        read_list(value, place)
    }

    fn write(&self) -> Option<Value> {
        write_list(self)
    }

    fn check(&self, kind: Kind) -> Result<(), String> {
        check_list(self, kind)
    }
}

impl<T: OptionValue, const N: usize> OptionValue for [T; N] {
    const KIND: Kind = <Vec<T> as OptionValue>::KIND.of_length(N);

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        let list = read_list(value, place)?;
        Ok(list.try_into().unwrap_or_else(|_| panic!("`{}` was checked to have {N}", place.key)))
    }

    fn write(&self) -> Option<Value> {
        write_list(self)
    }

    fn check(&self, kind: Kind) -> Result<(), String> {
        check_list(self, kind)
    }
}

/// An enum whose variants are an option's words; see [`Words`](macro@crate::Words).
pub trait Words: Copy + 'static {
    /// The words, in the order of the variants.
    const WORDS: &'static [&'static str];

    /// The word of a variant.
    fn word(self) -> &'static str;

    /// The variant of a word.
    fn by_word(word: &str) -> Option<Self>;
}

/// A section that only names its entry.
#[doc(hidden)]
pub fn named(entry: &str) -> Value {
    Value::Table(Table::from_iter([("name".to_owned(), entry.into())]))
}

/// Reads the word of an option that [`Words`](macro@crate::Words) declared.
#[doc(hidden)]
pub fn read_word<T: Words>(value: &Checked, place: &Place<'_>) -> Result<T, ConfigError> {
    Ok(scalar(value, place, |value| T::by_word(value.as_str()?)))
}

/// Reads a table of options that [`Options`](macro@crate::Options) declared.
#[doc(hidden)]
pub fn read_set<T: OptionSet>(value: &Checked, place: &Place<'_>) -> Result<T, ConfigError> {
    match value {
        Checked::Options(options) => T::read_over(options, place.horizon),
        _ => panic!("`{}` is not declared as a table", place.key),
    }
}
