//! Parquet files with flat columns.

use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::column::{Cells, Texts};
use super::{Column, Table};
use crate::DataError;

/// Integers beyond this are no `f64`.
const EXACT: u64 = 1 << 53;

pub(super) fn read(path: &Path) -> Result<Table, DataError> {
    let file = std::fs::File::open(path).map_err(DataError::read(path))?;
    let wrong = |error: ParquetError| {
        let reason = match error.to_string() {
            error if error.contains("zstd") && !cfg!(feature = "zstd") => {
                "compressed by zstd, which this build does not read; write it with snappy or gzip, \
                 or build with `--features zstd`"
                    .to_owned()
            }
            error => format!("not a whole Parquet file: {error}"),
        };
        DataError::table(path, reason)
    };
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let names: Vec<String> =
        schema.root_schema().get_fields().iter().map(|f| f.name().to_owned()).collect();
    let mut columns: Vec<Vec<Cell>> = names.iter().map(|_| Vec::new()).collect();
    for row in reader.get_row_iter(None).map_err(wrong)? {
        for ((name, field), column) in row.map_err(wrong)?.get_column_iter().zip(&mut columns) {
            let cell = cell(field).ok_or_else(|| {
                let reason = format!("column `{name}` holds neither numbers nor text; take it out");
                DataError::table(path, reason)
            })?;
            column.push(cell);
        }
    }
    let rows = columns.first().map_or(0, Vec::len);
    let columns = names.iter().zip(columns);
    let columns = columns.map(|(name, cells)| Column::new(name, together(cells))).collect();
    Ok(Table { path: path.to_owned(), columns, rows, lines: vec![] })
}

enum Cell {
    Missing,
    Number(f64),
    Text(String),
}

/// Numbers where all cells are, else texts.
fn together(cells: Vec<Cell>) -> Cells {
    if cells.iter().all(|cell| !matches!(cell, Cell::Text(_))) {
        let number = |cell: Cell| match cell {
            Cell::Number(number) => Some(number),
            _ => None,
        };
        return Cells::Numbers(cells.into_iter().map(number).collect());
    }
    let mut texts = Texts::default();
    for cell in cells {
        match cell {
            Cell::Missing => texts.push(""),
            Cell::Number(number) => texts.push(&number.to_string()),
            Cell::Text(text) => texts.push(&text),
        }
    }
    Cells::Texts(texts)
}

/// A cell; none where it is of a type that is neither number nor text.
fn cell(field: &Field) -> Option<Cell> {
    let integer = |number: i128| {
        if number.unsigned_abs() <= u128::from(EXACT) {
            Cell::Number(number as f64)
        } else {
            Cell::Text(number.to_string())
        }
    };
    Some(match field {
        Field::Null => Cell::Missing,
        Field::Byte(n) => integer((*n).into()),
        Field::Short(n) => integer((*n).into()),
        Field::Int(n) => integer((*n).into()),
        Field::Long(n) => integer((*n).into()),
        Field::UByte(n) => integer((*n).into()),
        Field::UShort(n) => integer((*n).into()),
        Field::UInt(n) => integer((*n).into()),
        Field::ULong(n) => integer((*n).into()),
        Field::Float16(number) => Cell::Number(f64::from(f32::from(*number))),
        Field::Float(number) => Cell::Number((*number).into()),
        Field::Double(number) => Cell::Number(*number),
        Field::Bool(truth) => Cell::Text(truth.to_string()),
        Field::Str(text) => Cell::Text(text.clone()),
        Field::Bytes(bytes) => Cell::Text(bytes.as_utf8().ok()?.to_owned()),
        _ => return None,
    })
}
