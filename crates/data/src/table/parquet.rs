//! Parquet files with flat columns.

use std::path::Path;

use super::Table;
use crate::DataError;

#[cfg(not(feature = "parquet"))]
pub(super) fn read(path: &Path) -> Result<Table, DataError> {
    let reason = "this build reads no Parquet; build with `--features parquet`, or give it as CSV";
    Err(DataError::table(path, reason))
}

#[cfg(feature = "parquet")]
pub(super) use with_parquet::read;

#[cfg(feature = "parquet")]
mod with_parquet {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};

    use super::super::Column;
    use super::super::column::{Cells, Texts};
    use super::{DataError, Path, Table};

    /// Integers beyond this are no `f64`.
    const EXACT: u64 = 1 << 53;

    pub(in super::super) fn read(path: &Path) -> Result<Table, DataError> {
        let file = std::fs::File::open(path).map_err(DataError::read(path))?;
        let wrong = |error: parquet::errors::ParquetError| {
            DataError::table(path, format!("not a whole Parquet file: {error}"))
        };
        let reader = SerializedFileReader::new(file).map_err(wrong)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let names: Vec<String> =
            schema.root_schema().get_fields().iter().map(|f| f.name().to_owned()).collect();
        let rows: Vec<Row> =
            reader.get_row_iter(None).and_then(Iterator::collect).map_err(wrong)?;
        let column = |(at, name): (usize, &String)| {
            let cells: Option<Vec<Cell>> =
                rows.iter().map(|row| cell(row.get_column_iter().nth(at)?.1)).collect();
            let cells = cells.ok_or_else(|| {
                let reason =
                    format!("column `{name}` holds neither numbers nor text; leave it out");
                DataError::table(path, reason)
            })?;
            Ok(Column::new(name, together(cells)))
        };
        let columns: Result<Vec<Column>, DataError> =
            names.iter().enumerate().map(column).collect();
        Ok(Table { path: path.to_owned(), columns: columns?, rows: rows.len(), lines: vec![] })
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
}
