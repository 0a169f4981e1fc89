//! Parquet files with flat columns, read a column at a time.

pub(crate) mod zstd;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{AsBytes, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use super::column::Builder;
use super::lines::Lines;
use super::{ReadAs, Reading, Table};
use crate::DataError;

/// Integers beyond this are no `f64`.
const EXACT: u128 = 1 << 53;

/// Values that are read at once.
const BATCH: usize = 1 << 14;

pub(super) fn read(path: &Path, reading: &Reading) -> Result<Table, DataError> {
    let file = Arc::new(File::open(path).map_err(DataError::read(path))?);
    let wrong = |error: ParquetError| {
        DataError::table(path, format!("not a complete Parquet file: {error}"))
    };
    let again = file.try_clone().map_err(DataError::read(path))?;
    let reader = SerializedFileReader::new(again).map_err(wrong)?;
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let mut columns = Vec::new();
    let mut rows = 0;
    for (at, field) in schema.root_schema().get_fields().iter().enumerate() {
        let name = field.name();
        let mut builder = Builder::new(reading.of(name), &reading.format);
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == at);
        let leaf =
            leaf.filter(|leaf| field.is_primitive() && schema.column(*leaf).max_rep_level() == 0);
        match leaf {
            None if builder.reads() => return Err(of_no_kind(path, name)),
            Some(leaf) if builder.reads() => {
                for group in metadata.row_groups() {
                    read_part(&file, group, leaf, &mut builder).map_err(
                        |refused| match refused {
                            Refused::File(error) => wrong(error),
                            Refused::Kind => of_no_kind(path, name),
                            Refused::Cell(row, reason) => DataError::table(
                                path,
                                format!("row {}, column `{name}`: {reason}", row + 1),
                            ),
                        },
                    )?;
                }
            }
            _ => {}
        }
        if builder.reads() {
            rows = rows.max(builder.rows());
        }
        columns.push((name.to_owned(), builder));
    }
    if columns.iter().all(|(_, builder)| !builder.reads()) {
        rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    }
    if let Some((name, builder)) = columns.iter().find(|(_, b)| b.reads() && b.rows() != rows) {
        let reason = format!("column `{name}` has {} rows and others {rows}", builder.rows());
        return Err(DataError::table(path, format!("not a complete Parquet file: {reason}")));
    }
    let columns = columns.into_iter().map(|(name, builder)| builder.finish(&name)).collect();
    Ok(Table { path: path.to_owned(), columns, rows, lines: Lines::default() })
}

fn of_no_kind(path: &Path, name: &str) -> DataError {
    let reason = format!(
        "column `{name}` holds neither numbers nor text; name it in data.exclude, or take it out"
    );
    DataError::table(path, reason)
}

/// Why a column cannot be read.
enum Refused {
    File(ParquetError),
    /// Its values are neither numbers nor text.
    Kind,
    Cell(usize, String),
}

impl From<ParquetError> for Refused {
    fn from(error: ParquetError) -> Self {
        Self::File(error)
    }
}

/// Reads a column of a row group.
fn read_part(
    file: &Arc<File>,
    group: &RowGroupMetaData,
    leaf: usize,
    to: &mut Builder,
) -> Result<(), Refused> {
    let chunk = group.column(leaf);
    let descriptor: ColumnDescPtr = chunk.column_descr_ptr();
    let rows = usize::try_from(group.num_rows()).unwrap_or(0);
    let pages = zstd::pages(file, chunk, rows)?;
    let reader = get_column_reader(Arc::clone(&descriptor), pages);
    let of = Number::of(&descriptor);
    let level = descriptor.max_def_level();
    match reader {
        ColumnReader::BoolColumnReader(reader) => {
            each(reader, level, to, |truth, to| to.push(if *truth { "true" } else { "false" }))
        }
        ColumnReader::Int32ColumnReader(reader) => each(reader, level, to, |number, to| {
            let number =
                if of == Number::Unsigned { i64::from(*number as u32) } else { (*number).into() };
            of.push(number.into(), to);
            Ok(())
        }),
        ColumnReader::Int64ColumnReader(reader) => each(reader, level, to, |number, to| {
            let number =
                if of == Number::Unsigned { i128::from(*number as u64) } else { (*number).into() };
            of.push(number, to);
            Ok(())
        }),
        ColumnReader::Int96ColumnReader(reader) => each(reader, level, to, |at, to| {
            to.push_number(at.to_millis() as f64 / 86_400_000.0);
            Ok(())
        }),
        ColumnReader::FloatColumnReader(reader) => each(reader, level, to, |number, to| {
            to.push_number((*number).into());
            Ok(())
        }),
        ColumnReader::DoubleColumnReader(reader) => each(reader, level, to, |number, to| {
            to.push_number(*number);
            Ok(())
        }),
        ColumnReader::ByteArrayColumnReader(reader) if matches!(of, Number::Decimal(_)) => {
            each(reader, level, to, |bytes, to| {
                of.push(big_endian(bytes.as_bytes())?, to);
                Ok(())
            })
        }
        ColumnReader::ByteArrayColumnReader(reader) => each(reader, level, to, |bytes, to| {
            to.push(bytes.as_utf8().map_err(|_| "not UTF-8".to_owned())?)
        }),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => match of {
            Number::Decimal(_) => each(reader, level, to, |bytes, to| {
                of.push(big_endian(bytes.as_bytes())?, to);
                Ok(())
            }),
            Number::Half => each(reader, level, to, |bytes, to| {
                let bytes = bytes.as_bytes().try_into().map_err(|_| "no 16 bits".to_owned())?;
                to.push_number(half::f16::from_le_bytes(bytes).to_f64());
                Ok(())
            }),
            _ => Err(Refused::Kind),
        },
    }
}

/// Hands the values of a column over, and what is missing between them.
fn each<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    level: i16,
    to: &mut Builder,
    mut push: impl FnMut(&T::T, &mut Builder) -> Result<(), String>,
) -> Result<(), Refused> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    loop {
        values.clear();
        levels.clear();
        let wanted = (level > 0).then_some(&mut levels);
        let (records, ..) = reader.read_records(BATCH, wanted, None, &mut values)?;
        if records == 0 {
            return Ok(());
        }
        let mut next = values.iter();
        for at in 0..records {
            let there = level == 0 || levels.get(at) == Some(&level);
            match there.then(|| next.next()).flatten() {
                None => to.push_missing(),
                Some(value) => {
                    let row = to.rows();
                    push(value, to).map_err(|reason| Refused::Cell(row, reason))?;
                }
            }
        }
    }
}

/// What the integers of a column stand for.
#[derive(Clone, Copy, PartialEq)]
enum Number {
    Signed,
    Unsigned,
    /// So many make a day.
    OfDay(f64),
    /// So many digits follow the decimal point.
    Decimal(i32),
    /// Two bytes of a half-precision number.
    Half,
}

impl Number {
    fn of(column: &ColumnDescriptor) -> Self {
        const MILLIS: f64 = 86_400_000.0;
        if let Some(logical) = column.logical_type_ref() {
            let of_day = |unit: &TimeUnit| match unit {
                TimeUnit::MILLIS => Self::OfDay(MILLIS),
                TimeUnit::MICROS => Self::OfDay(MILLIS * 1e3),
                TimeUnit::NANOS => Self::OfDay(MILLIS * 1e6),
            };
            match logical {
                LogicalType::Float16 => return Self::Half,
                LogicalType::Timestamp(kind) | LogicalType::Time(kind) => {
                    return of_day(&kind.unit);
                }
                _ => {}
            }
        }
        match column.converted_type() {
            ConvertedType::DATE => Self::OfDay(1.0),
            ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIME_MILLIS => Self::OfDay(MILLIS),
            ConvertedType::TIMESTAMP_MICROS | ConvertedType::TIME_MICROS => {
                Self::OfDay(MILLIS * 1e3)
            }
            ConvertedType::DECIMAL => Self::Decimal(column.type_scale()),
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Self::Unsigned,
            _ => Self::Signed,
        }
    }

    fn push(self, number: i128, to: &mut Builder) {
        match self {
            Self::OfDay(units) => to.push_number(number as f64 / units),
            Self::Decimal(scale) => to.push_number(number as f64 / 10_f64.powi(scale)),
            // What may be no double keeps its digits, unless a number is wanted.
            _ if number.unsigned_abs() > EXACT && to.read_as() != ReadAs::Number => {
                to.push_text(&number.to_string(), true);
            }
            _ => to.push_number(number as f64),
        }
    }
}

/// A number in two's complement.
fn big_endian(bytes: &[u8]) -> Result<i128, String> {
    if bytes.is_empty() || bytes.len() > 16 {
        return Err(format!("a decimal of {} bytes; 1 to 16 can be read", bytes.len()));
    }
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [sign; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    Ok(i128::from_be_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_in_twos_complement() {
        assert_eq!(big_endian(&[0x01, 0x00]), Ok(256));
        assert_eq!(big_endian(&[0xff, 0xfe]), Ok(-2));
        assert!(big_endian(&[]).is_err() && big_endian(&[0; 17]).is_err());
    }
}
