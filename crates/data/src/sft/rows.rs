//! Rows of files that hold conversations: JSON, JSON Lines, CSV and Parquet.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::Value;
use minijinja::value::ValueKind;

use super::nested;
use crate::contain::contain;
use crate::table::{Format, ReadAs, Reading, Table};
use crate::{DataError, Place};

/// The values of a row by their columns; those that are null are not there.
pub(crate) type Fields = IndexMap<String, Value>;

/// A row, or what is wrong with it.
#[derive(Debug)]
pub(crate) struct Row {
    pub place: Place,
    pub fields: Result<Fields, String>,
}

/// The rows of a file.
#[derive(Debug)]
pub(crate) struct Rows {
    pub path: PathBuf,
    pub rows: Vec<Row>,
}

impl Rows {
    /// Reads a file, by its extension.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let rows = match extension.as_str() {
            "json" => json(path)?,
            "jsonl" | "ndjson" => lines(&text(path)?),
            "csv" | "tsv" => table(path)?,
            "parquet" => {
                let read = |path: &Path| -> parquet::errors::Result<Vec<Row>> {
                    let file = File::open(path)?;
                    nested::rows(&Arc::new(file))
                };
                let rows = contain(|| read(path))
                    .unwrap_or_else(|panic| Err(parquet::errors::ParquetError::General(panic)));
                rows.map_err(|error| {
                    DataError::table(path, format!("not a complete Parquet file: {error}"))
                })?
            }
            _ => {
                let reason = "is not a file type that holds rows; expected one of .json, .jsonl, .ndjson, .csv, \
                              .tsv, .parquet";
                return Err(DataError::table(path, reason));
            }
        };
        if rows.is_empty() {
            return Err(DataError::table(path, "has no rows"));
        }
        Ok(Self { path: path.to_owned(), rows })
    }

    /// The names of all columns, in the order in which they first come.
    pub fn columns(&self) -> Vec<&str> {
        let mut names = IndexMap::new();
        for fields in self.rows.iter().filter_map(|row| row.fields.as_ref().ok()) {
            names.extend(fields.keys().map(|name| (name.as_str(), ())));
        }
        names.into_keys().collect()
    }
}

fn text(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::read(path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        DataError::table(path, format!("not UTF-8 at byte offset {at}; save it as UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A list of objects, or one object after another.
fn json(path: &Path) -> Result<Vec<Row>, DataError> {
    let text = text(path)?;
    let invalid =
        |error: serde_json::Error| DataError::table(path, format!("not valid JSON: {error}"));
    let values: Vec<Value> = if text.trim_start().starts_with('[') {
        serde_json::from_str(&text).map_err(invalid)?
    } else {
        let values = serde_json::Deserializer::from_str(&text).into_iter();
        values.collect::<Result<_, _>>().map_err(invalid)?
    };
    let row = |(i, value)| Row { place: Place::Row(i + 1), fields: fields(&value) };
    Ok(values.into_iter().enumerate().map(row).collect())
}

/// An object on each line that is not empty.
fn lines(text: &str) -> Vec<Row> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(i, line)| {
        let value = serde_json::from_str(line).map_err(|error| format!("not valid JSON: {error}"));
        Row { place: Place::Line(i + 1), fields: value.and_then(|value| fields(&value)) }
    };
    lines.map(row).collect()
}

/// The rows of a table of texts.
fn table(path: &Path) -> Result<Vec<Row>, DataError> {
    let format = Format { missing_values: vec![String::new()], ..Format::default() };
    let reading = Reading { format, others: ReadAs::Text, ..Reading::default() };
    let table = Table::read_as(path, &reading)?;
    let columns = table.names().into_iter().map(|name| table.column(name));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let row = |i: usize| {
        let cell = |column: &&crate::Column| {
            let text = column.text(i)?;
            Some((column.name().to_owned(), Value::from(&*text)))
        };
        Row { place: table.row_place(i), fields: Ok(columns.iter().filter_map(cell).collect()) }
    };
    Ok((0..table.rows()).map(row).collect())
}

/// The fields of an object.
fn fields(value: &Value) -> Result<Fields, String> {
    if value.kind() != ValueKind::Map {
        return Err(format!("expected an object, found a {}", value.kind()));
    }
    let mut fields = Fields::new();
    for key in value.try_iter().map_err(|error| error.to_string())? {
        let item = value.get_item(&key).map_err(|error| error.to_string())?;
        if !item.is_none() {
            fields.insert(key.to_string(), item);
        }
    }
    Ok(fields)
}
