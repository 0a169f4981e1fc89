//! Images in Parquet files: a column of files' bytes, alone or with a path as the `datasets` library has it, and one of classes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rayon::prelude::*;
use serde_json::Value;

use super::decode::decode_bytes;
use super::listing::Columns;
use super::section::{Decoded, Label};
use crate::DataError;
use crate::table::parquet::zstd::pages;
use crate::table::{ReadAs, Reading, Table};

/// Images that are read and decoded at once.
const BATCH: usize = 256;

/// The column of images where nobody names one.
const IMAGE: &str = "image";

/// Whether a path is that of such a file.
pub(super) fn is_named(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"))
}

/// All images of a file, with their classes where these are `wanted`.
///
/// # Errors
/// A file that is torn, columns that are not there, images that are none unless it `skips` them.
pub(super) fn read(
    path: &Path,
    columns: Columns<'_>,
    wanted: bool,
    channels: Option<usize>,
    skips: bool,
) -> Result<Decoded, DataError> {
    let bad = |reason: String| DataError::Image { path: path.to_owned(), reason };
    let wrong = |error: ParquetError| bad(format!("not a complete Parquet file: {error}"));
    let file = Arc::new(File::open(path).map_err(DataError::read(path))?);
    let again = file.try_clone().map_err(DataError::read(path))?;
    let reader = SerializedFileReader::new(again).map_err(wrong)?;
    let metadata = reader.metadata();
    let labels = if wanted { Some(labels(path, columns.label)?) } else { None };
    let leaf = leaf(metadata, columns.path).map_err(bad)?;
    let mut decoded = Decoded { classes: classes(metadata, columns.label), ..Decoded::default() };
    let mut row = 0;
    for group in metadata.row_groups() {
        let chunk = group.column(leaf);
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let pages = pages(&file, chunk, rows).map_err(wrong)?;
        let ColumnReader::ByteArrayColumnReader(mut reader) =
            get_column_reader(chunk.column_descr_ptr(), pages)
        else {
            return Err(bad("the column of images holds no bytes".to_owned()));
        };
        let level = chunk.column_descr().max_def_level();
        loop {
            let (mut values, mut levels) = (Vec::new(), Vec::new());
            let some = (level > 0).then_some(&mut levels);
            let (records, ..) =
                reader.read_records(BATCH, some, None, &mut values).map_err(wrong)?;
            if records == 0 {
                break;
            }
            let mut next = values.iter();
            let there = |at: usize| level == 0 || levels.get(at) == Some(&level);
            let cells: Vec<_> =
                (0..records).map(|at| there(at).then(|| next.next()).flatten()).collect();
            let images = cells.into_par_iter().map(|cell| match cell {
                Some(bytes) => decode_bytes(bytes.data(), channels),
                None => Err("the cell is empty".to_owned()),
            });
            for image in images.collect::<Vec<_>>() {
                let label = labels.as_ref().map(|labels| labels.get(row).cloned());
                row += 1;
                match image {
                    Ok(image) => {
                        let label = label.unwrap_or(Some(Label::Number(0)));
                        let label = label.ok_or_else(|| bad(format!("row {row}: no class")))?;
                        decoded.images.push(image);
                        decoded.labels.push(label);
                    }
                    Err(_) if skips => decoded.skipped += 1,
                    Err(reason) => return Err(bad(format!("row {row}: {reason}"))),
                }
            }
        }
    }
    Ok(decoded)
}

/// The leaf that holds the bytes of images: a column of them, or the part `bytes` of one.
fn leaf(metadata: &ParquetMetaData, named: &str) -> Result<usize, String> {
    // `path` is what other listings call it.
    let name = if named == "path" { IMAGE } else { named };
    let schema = metadata.file_metadata().schema_descr();
    let leaves = schema.columns().iter().enumerate();
    let bytes = leaves
        .filter(|(_, leaf)| leaf.physical_type() == Type::BYTE_ARRAY && leaf.max_rep_level() == 0);
    let wanted = [name.to_owned(), format!("{name}.bytes")];
    let found = bytes.clone().find(|(_, leaf)| wanted.contains(&leaf.path().string()));
    found.map(|(at, _)| at).ok_or_else(|| {
        let known: Vec<String> = bytes.map(|(_, leaf)| leaf.path().string()).collect();
        format!(
            "no column `{name}` with the bytes of images (columns of bytes: {}); name one in data.path_column",
            known.join(", ")
        )
    })
}

/// The class of each row: a number where all are whole numbers, else a name.
fn labels(path: &Path, column: &str) -> Result<Vec<Label>, DataError> {
    let columns = [(column.to_owned(), ReadAs::Either)].into_iter().collect();
    let reading = Reading { columns, others: ReadAs::Nothing, ..Reading::default() };
    let table = Table::read_as(path, &reading)?;
    let column = table.column(column)?;
    let label = |row: usize| {
        let number = column.number(row).and_then(Result::ok);
        match number.filter(|number| *number >= 0.0 && number.fract() == 0.0 && *number < 1e9) {
            Some(number) => Ok(Label::Number(number as usize)),
            None => match column.text(row) {
                Some(name) => Ok(Label::Name(name.into_owned())),
                None => Err(table.cell(column, row, "no class; fill it in, or take the row out")),
            },
        }
    };
    let labels = (0..table.rows()).map(label).collect::<Result<Vec<_>, _>>()?;
    if labels.iter().all(|label| matches!(label, Label::Number(_))) {
        return Ok(labels);
    }
    let name = |row: usize| column.text(row).map_or_else(String::new, std::borrow::Cow::into_owned);
    Ok((0..table.rows()).map(|row| Label::Name(name(row))).collect())
}

/// The names of a column's classes, where the `datasets` library wrote them.
fn classes(metadata: &ParquetMetaData, column: &str) -> Option<Vec<String>> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    let text = pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_ref()?;
    let said: Value = serde_json::from_str(text).ok()?;
    let names = said["info"]["features"][column]["names"].as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}
