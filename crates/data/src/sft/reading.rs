//! Files read row by row, and which rows are held out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::rows::Rows;
use super::section::RowFiles;
use crate::mix::hash_words;
use crate::sources::files::expand;
use crate::{DataError, OnBadRow, Permutation, Place};

/// Keeps the hash that chooses held-out rows apart from others under the same seed.
const HELD_OUT_ROWS: u64 = 0x7366_745f_726f_7773;

/// A row that was read, as whatever it became.
#[derive(Debug)]
pub(crate) struct Found<T> {
    pub path: Arc<PathBuf>,
    pub place: Place,
    pub row: T,
}

/// What a file's rows became, or what is wrong with each.
pub(crate) type Outcomes<T> = Vec<(Place, Result<T, String>)>;

/// Reads the files of a config; rows that cannot be used are errors or left out, as that says.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rows: &'a RowFiles,
    /// Rows that were left out, with the reason.
    pub skipped: Vec<String>,
}

impl<'a> Reader<'a> {
    pub fn new(rows: &'a RowFiles) -> Self {
        Self { rows, skipped: Vec::new() }
    }

    /// The rows to train on and those to validate on, by what `of_file` makes of a file's.
    pub fn read_all<T>(
        &mut self,
        seed: u64,
        mut of_file: impl FnMut(Rows) -> Result<Outcomes<T>, DataError>,
    ) -> Result<[Vec<Found<T>>; 2], DataError> {
        let rows = self.rows;
        let all = self.read(&rows.files, &mut of_file)?;
        if rows.validation_files.is_empty() {
            return Ok(split(all, rows.validation_fraction, seed));
        }
        Ok([all, self.read(&rows.validation_files, &mut of_file)?])
    }

    fn read<T>(
        &mut self,
        patterns: &[String],
        of_file: &mut impl FnMut(Rows) -> Result<Outcomes<T>, DataError>,
    ) -> Result<Vec<Found<T>>, DataError> {
        let mut found = Vec::new();
        for pattern in patterns {
            for path in expand(pattern)? {
                let rows = Rows::read(&path)?;
                let path = Arc::new(path);
                for (place, row) in of_file(rows)? {
                    match row {
                        Ok(row) => found.push(Found { path: Arc::clone(&path), place, row }),
                        Err(reason) => self.leave_out(&path, place, reason)?,
                    }
                }
            }
        }
        if found.is_empty() {
            let reason = format!(
                "no row of {} is left to train on: {}",
                patterns.join(", "),
                self.skipped.first().map_or("there are none", String::as_str)
            );
            return Err(config_error("files", reason));
        }
        Ok(found)
    }

    fn leave_out(&mut self, path: &Path, place: Place, reason: String) -> Result<(), DataError> {
        let error = DataError::Row { path: path.to_owned(), place, reason };
        if self.rows.on_bad_row == OnBadRow::Error {
            return Err(error);
        }
        self.skipped.push(error.to_string());
        Ok(())
    }
}

pub(crate) fn config_error(key: &str, reason: String) -> DataError {
    rappel_config::ConfigError::invalid(format!("data.{key}"), reason).into()
}

/// Rows to train on and rows to validate on, drawn by the seed, each in the order of the files.
fn split<T>(rows: Vec<Found<T>>, share: f64, seed: u64) -> [Vec<Found<T>>; 2] {
    let count = rows.len();
    let wanted = ((count as f64 * share).round() as usize).min(count - 1);
    let drawn = Permutation::new(count, hash_words(seed, &[HELD_OUT_ROWS]));
    let mut is_held_out = vec![false; count];
    (0..wanted).for_each(|i| is_held_out[drawn.at(i)] = true);
    let mut sides = [Vec::new(), Vec::new()];
    for (row, is_held_out) in rows.into_iter().zip(is_held_out) {
        sides[usize::from(is_held_out)].push(row);
    }
    sides
}
