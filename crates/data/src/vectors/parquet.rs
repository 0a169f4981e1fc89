//! Parquet with a text and a list of numbers in each row.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

const SCHEMA: &str = "message texts {
    required binary text (UTF8);
    required group embedding (LIST) { repeated group list { required float element; } }
}";

/// Rows of one group.
const ROWS: usize = 1 << 14;

/// Writes the columns `text` and `embedding`, a list of `width` numbers for each text, as a Parquet file.
///
/// # Errors
/// Those of `out`.
///
/// # Panics
/// Where there are not `width` numbers for each text.
#[track_caller]
pub fn write_parquet(
    out: &mut dyn Write,
    texts: &[&str],
    width: usize,
    numbers: &[f32],
) -> io::Result<()> {
    assert!(width > 0 && numbers.len() == texts.len() * width, "write_parquet: rows of {width}");
    let file = file(texts, width, numbers).map_err(io::Error::other)?;
    out.write_all(&file)
}

fn file(texts: &[&str], width: usize, numbers: &[f32]) -> Result<Vec<u8>, ParquetError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    for (texts, numbers) in texts.chunks(ROWS).zip(numbers.chunks(ROWS * width)) {
        let mut group = file.next_row_group()?;
        let values: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(*text)).collect();
        if let Some(mut column) = group.next_column()? {
            column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
            column.close()?;
        }
        // A number is there where the level is 1; the first of a row begins a list.
        let there = vec![1; numbers.len()];
        let begins: Vec<i16> = (0..numbers.len()).map(|i| i16::from(i % width != 0)).collect();
        if let Some(mut column) = group.next_column()? {
            column.typed::<FloatType>().write_batch(numbers, Some(&there), Some(&begins))?;
            column.close()?;
        }
        group.close()?;
    }
    file.into_inner()
}
