//! CSV files (RFC 4180): UTF-8, quotes where needed, a header.

use std::io::Write;
use std::path::Path;

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::column::Cells;
use super::{Column, Table, Texts};
use crate::DataError;

pub(super) fn read(path: &Path, delimiter: u8) -> Result<Table, DataError> {
    let file = std::fs::File::open(path).map_err(DataError::read(path))?;
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(file);
    let explain = |error: csv::Error| explain(path, error);
    let header = reader.headers().map_err(explain)?.clone();
    if header.is_empty() {
        return Err(DataError::table(path, "is empty; the first line must name the columns"));
    }
    let mut cells = vec![Texts::default(); header.len()];
    let (mut lines, mut record) = (Vec::new(), StringRecord::new());
    while reader.read_record(&mut record).map_err(explain)? {
        lines.push(record.position().map_or(0, csv::Position::line));
        for (column, cell) in cells.iter_mut().zip(&record) {
            column.push(cell);
        }
    }
    let columns = header.iter().zip(cells);
    let columns = columns.map(|(name, cells)| Column::new(name, Cells::Texts(cells))).collect();
    Ok(Table { path: path.to_owned(), columns, rows: lines.len(), lines })
}

fn explain(path: &Path, error: csv::Error) -> DataError {
    let line = error.position().map_or(0, csv::Position::line);
    let reason = match error.into_kind() {
        ErrorKind::Io(source) => return DataError::read(path)(source),
        ErrorKind::UnequalLengths { expected_len, len, .. } => format!(
            "line {line} has {len} cells, the header names {expected_len} columns; put quotes around \
             cells that hold the delimiter, or complete the line"
        ),
        ErrorKind::Utf8 { err, .. } => {
            format!("line {line}, cell {}: not UTF-8; save the file as UTF-8", err.field() + 1)
        }
        other => format!("line {line}: not CSV: {other:?}"),
    };
    DataError::table(path, reason)
}

/// Writes a CSV with a header.
///
/// # Errors
/// What `out` refuses.
pub fn write_csv(
    out: &mut dyn Write,
    columns: &[String],
    rows: &[Vec<String>],
) -> std::io::Result<()> {
    // Kept as the system's own error, so that its kind still tells what to do.
    let refused = |error: csv::Error| match error.into_kind() {
        ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    };
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(columns).map_err(refused)?;
    for row in rows {
        writer.write_record(row).map_err(refused)?;
    }
    writer.flush()
}
