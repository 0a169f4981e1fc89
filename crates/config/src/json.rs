//! JSON in and out, as Hugging Face's configs are written.

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use crate::{Field, Kind};

/// The options that a JSON object gives, where null is the same as nothing, and the paths of its keys
/// that are not options.
pub fn table_from_json(fields: &[Field], given: &Map<String, Json>) -> (Table, Vec<String>) {
    let (mut table, mut unknown) = (Table::new(), Vec::new());
    for (key, value) in given {
        let Some(field) = fields.iter().find(|field| field.is_named(key)) else {
            unknown.push(key.clone());
            continue;
        };
        let mut nested = |path: &str, fields: &[Field], object: &Map<String, Json>| {
            let (table, more) = table_from_json(fields, object);
            unknown.extend(more.into_iter().map(|key| format!("{path}.{key}")));
            Value::Table(table)
        };
        let value = match (field.kind, value) {
            (Kind::Table(fields), Json::Object(object)) => Some(nested(key, fields, object)),
            (Kind::Tables(fields), Json::Array(list)) => {
                let items = list.iter().enumerate().map(|(i, item)| match item {
                    Json::Object(object) => nested(&format!("{key}[{i}]"), fields, object),
                    other => value_of(other).unwrap_or_else(|| Value::String("null".to_owned())),
                });
                Some(Value::Array(items.collect()))
            }
            (_, value) => value_of(value),
        };
        table.extend(value.map(|value| (key.clone(), value)));
    }
    (table, unknown)
}

/// A JSON value as TOML; null as nothing, in lists as a text, which options refuse.
fn value_of(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Integer(integer),
            (None, Some(float)) if !number.is_u64() => Value::Float(float),
            // What TOML cannot hold, such as 2^63, becomes a text, which options refuse.
            _ => Value::String(number.to_string()),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(list) => {
            let null = || Value::String("null".to_owned());
            Value::Array(list.iter().map(|item| value_of(item).unwrap_or_else(null)).collect())
        }
        Json::Object(object) => {
            let pairs =
                object.iter().filter_map(|(key, value)| Some((key.clone(), value_of(value)?)));
            Value::Table(pairs.collect())
        }
    })
}

/// Written options as JSON; unset ones are null.
pub fn from_table(fields: &[Field], table: &Table) -> Map<String, Json> {
    let pair = |field: &Field| {
        let value = match (field.kind, table.get(field.name)) {
            (_, None) => Json::Null,
            (Kind::Table(fields), Some(Value::Table(table))) => from_table(fields, table).into(),
            (Kind::Tables(fields), Some(Value::Array(list))) => {
                let tables = list.iter().filter_map(Value::as_table);
                tables.map(|table| Json::Object(from_table(fields, table))).collect()
            }
            (_, Some(value)) => json_of(value),
        };
        (field.name.to_owned(), value)
    };
    fields.iter().map(pair).collect()
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(list) => list.iter().map(json_of).collect(),
        Value::Table(table) => {
            Json::Object(table.iter().map(|(key, value)| (key.clone(), json_of(value))).collect())
        }
    }
}
