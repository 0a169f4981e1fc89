//! Rows of Parquet files whose columns hold lists and structs.

use std::fs::File;
use std::sync::Arc;

use minijinja::Value;
use parquet::column::page::PageReader;
use parquet::errors::Result;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::{Field, Row as Record, reader::RowIter};

use super::rows::Row;
use crate::Place;
use crate::table::parquet::zstd;

/// The rows of a file.
pub(super) fn rows(file: &Arc<File>) -> Result<Vec<Row>> {
    let reader = SerializedFileReader::new(file.try_clone()?)?;
    let mut rows = Vec::new();
    for metadata in reader.metadata().row_groups() {
        let group = Group { file, metadata };
        for record in RowIter::from_row_group(None, &group)? {
            let fields = record?.into_columns().into_iter();
            let fields = fields.filter(|(_, field)| !matches!(field, Field::Null));
            let fields = fields.map(|(name, field)| (name, value(&field))).collect();
            rows.push(Row { place: Place::Row(rows.len() + 1), fields: Ok(fields) });
        }
    }
    Ok(rows)
}

/// A group of rows, whose pages may be compressed by zstd.
struct Group<'a> {
    file: &'a Arc<File>,
    metadata: &'a RowGroupMetaData,
}

impl RowGroupReader for Group<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let rows = usize::try_from(self.metadata.num_rows()).unwrap_or(0);
        zstd::pages(self.file, self.metadata.column(i), rows)
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&parquet::bloom_filter::Sbbf> {
        None
    }

    fn get_row_iter(
        &self,
        projection: Option<parquet::schema::types::Type>,
    ) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// A field as JSON has it.
fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::from(()),
        Field::Bool(truth) => Value::from(*truth),
        Field::Byte(n) => Value::from(*n),
        Field::Short(n) => Value::from(*n),
        Field::Int(n) => Value::from(*n),
        Field::Long(n) => Value::from(*n),
        Field::UByte(n) => Value::from(*n),
        Field::UShort(n) => Value::from(*n),
        Field::UInt(n) => Value::from(*n),
        Field::ULong(n) => Value::from(*n),
        Field::Float(x) => Value::from(*x),
        Field::Double(x) => Value::from(*x),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Group(record) => group(record),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter();
            Value::from_pairs(entries.map(|(key, item)| (value(key).to_string(), value(item))))
        }
        other => Value::from(other.to_string()),
    }
}

/// A struct; columns that hold structs of several shapes fill the others with nulls, which are left out.
fn group(record: &Record) -> Value {
    let fields = record.get_column_iter().filter(|(_, field)| !matches!(field, Field::Null));
    Value::from_pairs(fields.map(|(name, field)| (name.clone(), value(field))))
}
