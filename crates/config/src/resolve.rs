//! From what a config gives to checked options with every default filled in.

use toml::{Table, Value};

use crate::options::Checked;
use crate::{ConfigError, Default, Field, Kind, Options, Range, suggest};

/// Checks `given` against `fields` and fills in the defaults.
///
/// `path` is where the table stands in the config (`"optimizer"`, or `""` for the whole file); it
/// leads the keys in error texts. Values keep their type, except that an integer literal is taken
/// where a float is wanted, and one text or integer for a list of one. The result re-resolves to itself through [`Options::to_toml`].
///
/// # Errors
/// The first of: an unknown key, in the order given; then per field, in the order declared, a
/// missing value, a wrong type, or a value out of range.
///
/// ```
/// use rappel_config::{Field, Kind, Range, resolve};
/// let fields = [Field::required("lr", Kind::Float(Range::above(0.0)), "learning rate")];
/// let options = resolve("optimizer", &fields, &toml::from_str("lr = 1").unwrap())?;
/// assert_eq!(options.get("lr")?, Some(1.0));
///
/// let given = toml::from_str("lr = -1.0").unwrap();
/// assert_eq!(
///     resolve("optimizer", &fields, &given).unwrap_err().to_string(),
///     "config key `optimizer.lr`: -1.0 is out of range; expected float in (0, inf)",
/// );
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
pub fn resolve(path: &str, fields: &[Field], given: &Table) -> Result<Options, ConfigError> {
    if let Some(key) = given.keys().find(|key| !fields.iter().any(|field| field.is_named(key))) {
        return Err(unknown_key(path, fields, key));
    }
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        let (name, value) = given_for(path, field, given)?;
        let key = join(path, name);
        let value = match (value, field.default) {
            (Some(value), _) => Some(check(&key, field.kind, value)?),
            (None, Default::Value { value, .. }) => {
                value().map(|value| check(&key, field.kind, &value)).transpose()?
            }
            (None, Default::Absent) => None,
            (None, Default::Required) => {
                let (expected, doc) = (field.kind.to_string(), field.doc.to_owned());
                return Err(ConfigError::Missing { key, expected, doc });
            }
        };
        values.push((field.name, value));
    }
    Ok(Options::new(path.to_owned(), values))
}

/// The value that a config gives an option, and the name that it gives it by.
fn given_for<'a>(
    path: &str,
    field: &Field,
    given: &'a Table,
) -> Result<(&'static str, Option<&'a Value>), ConfigError> {
    let also = field.also.and_then(|name| Some((name, given.get(name)?)));
    match (given.get(field.name), also) {
        (value, None) => Ok((field.name, value)),
        (None, Some((name, value))) => Ok((name, Some(value))),
        (Some(_), Some((name, _))) => {
            let reason = format!("that is `{}`, which is given too; give one", field.name);
            Err(ConfigError::Invalid { key: join(path, name), reason })
        }
    }
}

/// The key `name` under `path`; the path of the whole file is empty.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn unknown_key(path: &str, fields: &[Field], key: &str) -> ConfigError {
    let words = fields.iter().flat_map(|field| {
        std::iter::once(field.name)
            .chain(field.also)
            .chain(field.aka.iter().copied())
            .map(|word| (word, field.name))
    });
    let words: Vec<_> = words.collect();
    let nearest = suggest(key, words.iter().map(|(word, _)| *word));
    let suggestion = nearest
        .and_then(|near| words.iter().find(|(word, _)| *word == near))
        .map(|(_, name)| *name);
    ConfigError::UnknownKey {
        key: join(path, key),
        suggestion: suggestion.map(str::to_owned),
        known: fields.iter().map(|field| field.name.to_owned()).collect(),
    }
}

fn check(key: &str, kind: Kind, value: &Value) -> Result<Checked, ConfigError> {
    let wrong = || wrong_type(key, kind, value);
    let ok = match kind {
        Kind::Bool => value.is_bool(),
        Kind::Int { min, max } => {
            let number = value.as_integer().ok_or_else(wrong)?;
            in_range(key, kind, value, (min..=max).contains(&number))?;
            true
        }
        Kind::Float(range) => return Ok(float(key, kind, range, value)?.into()),
        Kind::Str | Kind::Path(_) => value.is_str(),
        Kind::OneOf(words) => {
            let word = value.as_str().ok_or_else(wrong)?;
            in_range(key, kind, value, words.contains(&word))?;
            true
        }
        Kind::Ints { min } => {
            if value.is_integer() {
                check(key, Kind::int_from(min), value)?;
                return Ok(Value::Array(vec![value.clone()]).into());
            }
            let list = value.as_array().ok_or_else(wrong)?;
            for (i, value) in list.iter().enumerate() {
                check(&format!("{key}[{i}]"), Kind::int_from(min), value)?;
            }
            true
        }
        Kind::Floats { len, range } => return floats(key, kind, len, range, value),
        Kind::Strings | Kind::Paths if value.is_str() => {
            return Ok(Value::Array(vec![value.clone()]).into());
        }
        Kind::Strings | Kind::Paths => {
            value.as_array().is_some_and(|list| list.iter().all(Value::is_str))
        }
        Kind::Scheduled { range, by } => match value {
            Value::Table(table) => {
                return Ok(Checked::Curve(by.resolve_options(key, table)?, range));
            }
            _ => return Ok(float(key, kind, range, value)?.into()),
        },
        Kind::Schedules { len, range, by } => {
            let list = value.as_array().ok_or_else(wrong)?;
            check_length(key, kind, len, list)?;
            let each = Kind::Scheduled { range, by };
            let one = |(i, value): (usize, &Value)| check(&format!("{key}[{i}]"), each, value);
            let list: Result<Vec<_>, _> = list.iter().enumerate().map(one).collect();
            return Ok(Checked::List(list?));
        }
        Kind::Count { min, words, by } => match value {
            Value::Table(table) => {
                let options = by.resolve_options(key, table)?;
                return Ok(Checked::Curve(options, Range::from(f64::from(min))));
            }
            Value::Integer(number) => {
                in_range(key, kind, value, *number >= i64::from(min))?;
                true
            }
            Value::String(word) => {
                in_range(key, kind, value, words.contains(&word.as_str()))?;
                true
            }
            _ => false,
        },
        Kind::Table(fields) => {
            let table = value.as_table().ok_or_else(wrong)?;
            return Ok(Checked::Options(resolve(key, fields, table)?));
        }
        Kind::Tables(fields) => {
            return tables(key, kind, value, &|key, table| resolve(key, fields, table));
        }
        Kind::Sections(family) => {
            let named = sections(value);
            return tables(key, kind, &named, &|key, table| family.resolve_options(key, table));
        }
        Kind::Section(family) => {
            let table = value.as_table().ok_or_else(wrong)?;
            return Ok(Checked::Options(family.resolve_options(key, table)?));
        }
        Kind::AnyTable => value.is_table(),
        Kind::Raw => true,
    };
    if ok { Ok(value.clone().into()) } else { Err(wrong()) }
}

fn float(key: &str, kind: Kind, range: Range, value: &Value) -> Result<Value, ConfigError> {
    let number = match value {
        Value::Float(number) => *number,
        Value::Integer(number) => *number as f64,
        _ => return Err(wrong_type(key, kind, value)),
    };
    in_range(key, kind, value, range.contains(number))?;
    Ok(Value::Float(number))
}

fn floats(
    key: &str,
    kind: Kind,
    len: Option<usize>,
    range: Range,
    value: &Value,
) -> Result<Checked, ConfigError> {
    let list = value.as_array().ok_or_else(|| wrong_type(key, kind, value))?;
    check_length(key, kind, len, list)?;
    let one = |(i, value)| float(&format!("{key}[{i}]"), Kind::Float(range), range, value);
    let list: Result<Vec<_>, _> = list.iter().enumerate().map(one).collect();
    Ok(Value::Array(list?).into())
}

fn check_length(
    key: &str,
    kind: Kind,
    len: Option<usize>,
    list: &[Value],
) -> Result<(), ConfigError> {
    if len.is_none_or(|len| list.len() == len) {
        return Ok(());
    }
    Err(ConfigError::invalid(key, format!("expected {kind}, got a list of {}", list.len())))
}

/// Checks one table of a list, given its path.
type Each<'a> = &'a dyn Fn(&str, &Table) -> Result<Options, ConfigError>;

fn tables(key: &str, kind: Kind, value: &Value, each: Each<'_>) -> Result<Checked, ConfigError> {
    let list = value.as_array().ok_or_else(|| wrong_type(key, kind, value))?;
    let one = |(i, value): (usize, &Value)| {
        let key = format!("{key}[{i}]");
        match value {
            Value::Table(table) => each(&key, table),
            _ => Err(wrong_type(&key, Kind::Table(&[]), value)),
        }
    };
    let list: Result<Vec<_>, _> = list.iter().enumerate().map(one).collect();
    Ok(Checked::List(list?.into_iter().map(Checked::Options).collect()))
}

/// A list of sections, where a name alone stands for the section of that name, and one for a list of one.
fn sections(value: &Value) -> Value {
    let section = |value: &Value| match value {
        Value::String(name) => {
            Value::Table([("name".to_owned(), name.as_str().into())].into_iter().collect())
        }
        other => other.clone(),
    };
    match value {
        Value::Array(list) => Value::Array(list.iter().map(section).collect()),
        Value::String(_) => Value::Array(vec![section(value)]),
        other => other.clone(),
    }
}

fn in_range(key: &str, kind: Kind, value: &Value, inside: bool) -> Result<(), ConfigError> {
    if inside {
        return Ok(());
    }
    let (value, range) = (value.to_string(), kind.to_string());
    Err(ConfigError::OutOfRange { key: key.to_owned(), value, range })
}

fn wrong_type(key: &str, kind: Kind, value: &Value) -> ConfigError {
    let got = match value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(_) => format!("the list {value}"),
        _ => format!("the {} {value}", value.type_str()),
    };
    ConfigError::WrongType { key: key.to_owned(), expected: kind.to_string(), got }
}
