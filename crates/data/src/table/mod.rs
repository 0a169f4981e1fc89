//! Tables: CSV or Parquet in, numbers for a model out.

mod column;
mod csv;
mod date;
mod encoding;
mod lines;
pub(crate) mod parquet;
mod parquet_out;
mod preprocessing;
mod reading;
mod rows;
mod section;
mod target;
mod texts;

use std::path::{Path, PathBuf};

use rappel_config::suggest;

use crate::contain::contain;
use crate::{DataError, Place};

pub use self::csv::write_csv;
pub use self::parquet_out::write_table;
pub use column::Column;
pub use encoding::{Encoding, MOST_BUCKETS, Missing};
pub use preprocessing::{Encoded, Feature, Preprocessing, Value};
pub use reading::{Format, MISSING_VALUES, ReadAs, Reading};
pub use rows::{TableBatch, TableRows};
pub use section::{Decimal, TableConfig};
pub use target::{Target, TargetKind, Wanted};

use column::Holds;
pub(crate) use date::iso as iso_date;
use lines::Lines;

/// A file of named columns, all of it in memory.
///
/// ```
/// use rappel_data::Table;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("flowers.csv");
/// std::fs::write(&path, "petal,species\n1.4,setosa\n,virginica\n").unwrap();
/// let table = Table::read(&path)?;
/// assert_eq!((table.rows(), table.names()), (2, vec!["petal", "species"]));
/// assert_eq!(table.column("petal").unwrap().number(0), Some(Ok(1.4)));
/// assert_eq!(table.column("petal").unwrap().number(1), None);
/// # Ok::<(), rappel_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    path: PathBuf,
    columns: Vec<Column>,
    rows: usize,
    /// Where the file has lines, the one on which each row begins.
    lines: Lines,
}

/// What reads a file, by its extension.
type Reader = fn(&Path, &Reading) -> Result<Table, DataError>;

const READERS: &[(&str, Reader)] = &[
    ("csv", |path, reading| csv::read(path, b',', reading)),
    ("tsv", |path, reading| csv::read(path, b'\t', reading)),
    ("parquet", parquet::read),
    // RecBole's.
    ("inter", |path, reading| csv::read(path, b'\t', reading)),
    ("user", |path, reading| csv::read(path, b'\t', reading)),
    ("item", |path, reading| csv::read(path, b'\t', reading)),
];

impl Table {
    /// Reads a whole file, by its extension: `csv`, `tsv` or `parquet`. The first line of a CSV names
    /// the columns; the delimiter follows from it, one of `,`, `;`, tab and `|`. A column holds numbers where
    /// all its cells are, else texts. A cell that is empty or one of [`MISSING_VALUES`] is missing.
    ///
    /// # Errors
    /// A file that cannot be read or has no rows, rows of different lengths, a column without a name
    /// or with one that another has.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        Self::read_as(path, &Reading::default())
    }

    /// Reads a file whose cells are written, and columns to be read, in this way.
    ///
    /// # Errors
    /// As [`read`](Self::read); a cell that is not what its column is read as.
    pub fn read_as(path: &Path, reading: &Reading) -> Result<Self, DataError> {
        let table = Self::read_once(path, reading)?;
        // The numbers above the first text of a column have lost how they were written.
        let mixed = |column: &&Column| {
            reading.of(column.name()) == ReadAs::Either
                && matches!(column.holds(), Holds::Both { .. })
        };
        let mixed: Vec<&str> = table.columns.iter().filter(mixed).map(Column::name).collect();
        if mixed.is_empty() {
            return Ok(table);
        }
        let mut reading = reading.clone();
        reading.columns.extend(mixed.into_iter().map(|name| (name.to_owned(), ReadAs::Text)));
        drop(table);
        Self::read_once(path, &reading)
    }

    fn read_once(path: &Path, reading: &Reading) -> Result<Self, DataError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let Some((_, read)) = READERS.iter().find(|(of, _)| **of == extension) else {
            let known: Vec<_> = READERS.iter().map(|(of, _)| format!(".{of}")).collect();
            let reason = format!(
                "is not a file type that holds tables; expected one of {}",
                known.join(", ")
            );
            return Err(DataError::table(path, reason));
        };
        // Decoders of formats made by others are not all free of panics.
        let table = contain(|| read(path, reading)).unwrap_or_else(|panic| {
            let reason = format!("not a complete {extension} file: its decoder failed: {panic}");
            Err(DataError::table(path, reason))
        })?;
        table.check()?;
        Ok(table)
    }

    fn check(&self) -> Result<(), DataError> {
        let names = self.names();
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() {
                let reason = format!("column {} has no name; the header must name each", i + 1);
                return Err(self.error(reason));
            }
            if let Some(first) = names[..i].iter().position(|other| other == name) {
                let reason = format!(
                    "columns {} and {} are both named `{name}`; rename one",
                    first + 1,
                    i + 1
                );
                return Err(self.error(reason));
            }
        }
        if self.rows == 0 {
            return Err(self.error("has no rows below its header"));
        }
        Ok(())
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns' names in their order.
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(Column::name).collect()
    }

    /// The column of a name.
    ///
    /// # Errors
    /// [`DataError::Table`] with the nearest name.
    pub fn column(&self, name: &str) -> Result<&Column, DataError> {
        self.columns.iter().find(|column| column.name() == name).ok_or_else(|| {
            let near = suggest(name, self.names());
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            self.error(format!(
                "has no column `{name}`{near} (it has: {})",
                self.names().join(", ")
            ))
        })
    }

    /// Where a row stands, in words: its line, or its number.
    pub fn place(&self, row: usize) -> String {
        self.row_place(row).to_string()
    }

    /// Where a row stands.
    pub(crate) fn row_place(&self, row: usize) -> Place {
        if self.lines.is_empty() {
            Place::Row(row + 1)
        } else {
            Place::Line(self.lines.place(row) as usize)
        }
    }

    /// The number in a cell; `None` where it is missing.
    ///
    /// # Errors
    /// A text or a number that is not finite, naming the row and the column.
    pub fn number(&self, column: &Column, row: usize) -> Result<Option<f64>, DataError> {
        match column.number(row) {
            None => Ok(None),
            Some(Ok(value)) if value.is_finite() => Ok(Some(value)),
            Some(Ok(value)) => Err(self.cell(
                column,
                row,
                &format!("{value} is not finite; leave the cell empty where a value is missing"),
            )),
            Some(Err(text)) => Err(self.cell(column, row, &format!("`{text}` is not a number"))),
        }
    }

    /// The texts of a column, each once, and the number of each cell's.
    ///
    /// # Errors
    /// A column that was not read as text.
    pub(crate) fn texts<'a>(
        &self,
        column: &'a Column,
    ) -> Result<(Vec<&'a str>, Vec<u32>), DataError> {
        column.texts().ok_or_else(|| {
            self.error(format!(
                "column `{}` holds names and was not read as text; read the table with TableConfig::read \
                 or Preprocessing::read",
                column.name()
            ))
        })
    }

    /// An error about one cell.
    pub(crate) fn cell(&self, column: &Column, row: usize, reason: &str) -> DataError {
        self.error(format!("{}, column `{}`: {reason}", self.place(row), column.name()))
    }

    /// An error about the file.
    pub(crate) fn error(&self, reason: impl Into<String>) -> DataError {
        DataError::table(&self.path, reason)
    }
}
