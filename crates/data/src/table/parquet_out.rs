//! Tables written as Parquet.

use std::io::{Error, Result, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

/// Rows of a group.
const GROUP: usize = 1 << 20;

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holds {
    Integers,
    Numbers,
    Texts,
}

impl Holds {
    /// Numbers where every cell is just as a number is written, so that `007` stays a text.
    fn of<'a>(cells: &(impl Iterator<Item = &'a str> + Clone)) -> Self {
        let integer = |cell: &str| cell.parse::<i64>().is_ok_and(|x| x.to_string() == cell);
        let number = |cell: &str| cell.parse::<f64>().is_ok_and(|x| x.to_string() == cell);
        if cells.clone().next().is_none() {
            Self::Texts
        } else if cells.clone().all(integer) {
            Self::Integers
        } else if cells.clone().all(number) {
            Self::Numbers
        } else {
            Self::Texts
        }
    }

    fn field(self, name: &str) -> std::result::Result<Type, ParquetError> {
        let (physical, logical) = match self {
            Self::Integers => (Physical::INT64, None),
            Self::Numbers => (Physical::DOUBLE, None),
            Self::Texts => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(name, physical);
        field.with_repetition(Repetition::REQUIRED).with_logical_type(logical).build()
    }
}

/// Writes a Parquet file: a column whose cells are all written as numbers holds numbers, any other texts.
///
/// # Errors
/// What `out` refuses.
pub fn write_table(out: &mut dyn Write, columns: &[String], rows: &[Vec<String>]) -> Result<()> {
    let bytes = parquet(columns, rows).map_err(Error::other)?;
    out.write_all(&bytes)
}

fn parquet(columns: &[String], rows: &[Vec<String>]) -> std::result::Result<Vec<u8>, ParquetError> {
    let holds = |i: usize| Holds::of(&rows.iter().map(move |row| row[i].as_str()));
    let holds: Vec<Holds> = (0..columns.len()).map(holds).collect();
    let fields = columns.iter().zip(&holds).map(|(name, holds)| holds.field(name).map(Arc::new));
    let fields = fields.collect::<std::result::Result<Vec<_>, _>>()?;
    let schema = Type::group_type_builder("schema").with_fields(fields).build()?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), properties.into())?;
    for rows in rows.chunks(GROUP) {
        let mut group = writer.next_row_group()?;
        for (i, holds) in holds.iter().enumerate() {
            write_column(&mut group, *holds, rows.iter().map(|row| row[i].as_str()))?;
        }
        group.close()?;
    }
    writer.into_inner()
}

fn write_column<'a>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    holds: Holds,
    cells: impl Iterator<Item = &'a str>,
) -> std::result::Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    match holds {
        Holds::Integers => {
            let values: Vec<i64> = cells.filter_map(|cell| cell.parse().ok()).collect();
            column.typed::<Int64Type>().write_batch(&values, None, None)?;
        }
        Holds::Numbers => {
            let values: Vec<f64> = cells.filter_map(|cell| cell.parse().ok()).collect();
            column.typed::<DoubleType>().write_batch(&values, None, None)?;
        }
        Holds::Texts => {
            let values: Vec<ByteArray> = cells.map(ByteArray::from).collect();
            column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
        }
    }
    column.close()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{ReadAs, Reading, Table};

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        let columns = ["id", "number", "score", "text"].map(str::to_owned);
        let row = |i: usize| {
            let score = (i as f64 / 7.0 - 1.0).to_string();
            vec![format!("0{i}"), i.to_string(), score, format!("a, \"{i}\"\nb")]
        };
        let rows: Vec<Vec<String>> = (0..40).map(row).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        let mut bytes = Vec::new();
        write_table(&mut bytes, &columns, &rows).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let columns_read = [("id".to_owned(), ReadAs::Text)].into_iter().collect();
        let reading = Reading { columns: columns_read, ..Reading::default() };
        let table = Table::read_as(&path, &reading).unwrap();
        assert_eq!((table.names(), table.rows()), (vec!["id", "number", "score", "text"], 40));
        for (at, row) in rows.iter().enumerate() {
            for (name, cell) in columns.iter().zip(row) {
                assert_eq!(table.column(name).unwrap().text(at).unwrap(), &cell[..]);
            }
        }
        let score = table.column("score").unwrap().number(3).unwrap();
        assert_eq!(score, Ok(3.0 / 7.0 - 1.0));
        let of = |cells: &[&str]| Holds::of(&cells.iter().copied());
        assert_eq!(of(&["1", "-2"]), Holds::Integers);
        assert_eq!(of(&["1", "0.5"]), Holds::Numbers);
        assert_eq!(of(&["007"]), Holds::Texts);
        assert_eq!(of(&[]), Holds::Texts);
    }
}
