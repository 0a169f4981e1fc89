//! Files read row by row, and which rows are held out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::interleaving::interleave;
use super::rows::Rows;
use super::section::RowFiles;
use crate::mix::hash_words;
use crate::sources::files::expand;
use crate::{DataError, OnBadRow, Permutation, Place};

/// Keeps the hash that chooses held-out rows apart from others under the same seed.
const HELD_OUT_ROWS: u64 = 0x7366_745f_726f_7773;

/// A row that was read, as whatever it became.
#[derive(Debug, Clone)]
pub(crate) struct Found<T> {
    pub path: Arc<PathBuf>,
    pub place: Place,
    pub row: T,
}

/// Rows with the entry of the config's files that each is of.
type OfEntries<T> = Vec<(usize, Found<T>)>;

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
    pub fn read_all<T: Clone>(
        &mut self,
        seed: u64,
        mut of_file: impl FnMut(Rows) -> Result<Outcomes<T>, DataError>,
    ) -> Result<[Vec<Found<T>>; 2], DataError> {
        let rows = self.rows;
        let all = self.read(&rows.files, &mut of_file)?;
        let [training, held_out] = if rows.validation_files.is_empty() {
            split(all, rows.validation_fraction, seed)
        } else {
            [all, self.read(&rows.validation_files, &mut of_file)?]
        };
        let training = self.in_turn(training, seed)?;
        Ok([training, held_out.into_iter().map(|(_, found)| found).collect()])
    }

    /// Rows in the order in which they are trained on, before that is shuffled.
    fn in_turn<T: Clone>(
        &self,
        training: OfEntries<T>,
        seed: u64,
    ) -> Result<Vec<Found<T>>, DataError> {
        let shares = &self.rows.probabilities;
        if shares.is_empty() {
            return Ok(training.into_iter().map(|(_, found)| found).collect());
        }
        let mut entries: Vec<Vec<Found<T>>> = shares.iter().map(|_| Vec::new()).collect();
        for (entry, found) in training {
            entries[entry].push(found);
        }
        let counts: Vec<usize> = entries.iter().map(Vec::len).collect();
        if let Some(empty) = counts.iter().position(|count| *count == 0) {
            let reason = format!("`{}` has no row to train on", self.rows.files[empty]);
            return Err(config_error("probabilities", reason));
        }
        let order = interleave(&counts, shares, self.rows.stopping_strategy, seed);
        Ok(order.into_iter().map(|(entry, row)| entries[entry][row].clone()).collect())
    }

    fn read<T>(
        &mut self,
        patterns: &[String],
        of_file: &mut impl FnMut(Rows) -> Result<Outcomes<T>, DataError>,
    ) -> Result<OfEntries<T>, DataError> {
        let mut found = Vec::new();
        for (entry, pattern) in patterns.iter().enumerate() {
            for path in expand(pattern)? {
                let rows = Rows::read(&path)?;
                let path = Arc::new(path);
                for (place, row) in of_file(rows)? {
                    match row {
                        Ok(row) => {
                            found.push((entry, Found { path: Arc::clone(&path), place, row }));
                        }
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
fn split<T>(rows: OfEntries<T>, share: f64, seed: u64) -> [OfEntries<T>; 2] {
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
