//! How one column becomes numbers.

use rappel_config::Words;
use serde::{Deserialize, Serialize};

use super::{Column, Table};
use crate::DataError;
use crate::mix::hash_bytes;

/// What stands in for a missing number; for a missing category it is always the most frequent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Missing {
    /// The mean of the training part.
    Mean,
    /// Its median: of an even count, the mean of the middle two.
    Median,
    /// Its most frequent value; of equally frequent ones the smallest.
    MostFrequent,
    /// Nothing: a missing value is an error.
    Error,
}

/// How the cells of a column become numbers, as the training part has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoding {
    /// One number, `(x - mean) / std`.
    Numeric {
        /// Stands in for a missing value; none: that is an error.
        fill: Option<f64>,
        /// Subtracted.
        mean: f64,
        /// Divided by.
        std: f64,
        /// Whether the cells are dates, and the number the days since 1970-01-01.
        #[serde(default)]
        date: bool,
    },
    /// An input of its own for each category, which a row looks up.
    Categorical {
        /// Stands in for a missing value; none: that is an error.
        fill: Option<String>,
        /// In order.
        categories: Vec<String>,
    },
    /// An input that a row looks up by a hash of its text: texts may share one.
    Hashed {
        /// Stands in for a missing value; none: that is an error.
        fill: Option<String>,
        /// How many inputs there are.
        buckets: usize,
    },
}

/// What the training rows of a column are.
pub(super) struct Training<'a> {
    pub table: &'a Table,
    pub column: &'a Column,
    pub rows: &'a [usize],
    pub missing: Missing,
}

impl Training<'_> {
    /// One number a cell.
    pub fn numeric(&self, standardize: bool, date: bool) -> Result<Encoding, DataError> {
        let Self { table, column, rows, missing } = *self;
        let mut values = Vec::with_capacity(rows.len());
        for &row in rows {
            values.extend(table.number(column, row)?);
        }
        if values.is_empty() {
            return Err(nothing(table, column));
        }
        let fill = match missing {
            Missing::Mean => Some(mean(&values)),
            Missing::Median => Some(median(&mut values)),
            Missing::MostFrequent => Some(most_frequent(&mut values)),
            Missing::Error => None,
        };
        if fill.is_some_and(|fill| !fill.is_finite()) {
            return Err(too_large(table, column));
        }
        if !standardize {
            return Ok(Encoding::Numeric { fill, mean: 0.0, std: 1.0, date });
        }
        // In their order: their sum depends on it.
        values.clear();
        for &row in rows {
            values.extend(table.number(column, row)?.or(fill));
        }
        let (mean, std) = standard(&values).ok_or_else(|| too_large(table, column))?;
        Ok(Encoding::Numeric { fill, mean, std, date })
    }

    /// The texts that the training rows have, by number; how often each; what fills in.
    fn counted(&self) -> Result<Counted<'_>, DataError> {
        let (texts, cells) = self.table.texts(self.column)?;
        let mut counts = vec![0; texts.len()];
        for &row in self.rows {
            if let Some(count) = counts.get_mut(cells[row] as usize) {
                *count += 1;
            }
        }
        let most = counts.iter().copied().max().unwrap_or(0);
        if most == 0 {
            return Err(nothing(self.table, self.column));
        }
        let frequent = texts.iter().zip(&counts).filter(|(_, count)| **count == most);
        let fill = frequent.map(|(text, _)| (*text).to_owned()).min();
        let fill = fill.filter(|_| self.missing != Missing::Error);
        Ok(Counted { texts, counts, fill })
    }

    /// An input for each category that the training rows have; where so many are different that they
    /// tell nothing, an error, unless they are `asked` for.
    pub fn categorical(&self, asked: bool) -> Result<Encoding, DataError> {
        let Counted { texts, counts, fill } = self.counted()?;
        let there = texts.iter().zip(&counts).filter(|(_, count)| **count > 0);
        let mut categories: Vec<String> = there.map(|(text, _)| (*text).to_owned()).collect();
        let cells: usize = counts.iter().sum();
        if !asked && categories.len() > FEW && 2 * categories.len() > cells {
            return Err(self.nearly_distinct(categories.len(), cells, &categories[0]));
        }
        categories.sort_unstable();
        Ok(Encoding::Categorical { fill, categories })
    }

    fn nearly_distinct(&self, different: usize, cells: usize, example: &str) -> DataError {
        let name = self.column.name();
        let is_date = super::date::iso(example).is_some();
        let date = if is_date { " (its cells look like dates)" } else { "" };
        self.table.error(format!(
            "column `{name}` holds text, {different} different ones in {cells} training rows, such as \
             `{example}`, too many to learn from as categories; name it in data.exclude to ignore it, in \
             data.hash to share a few inputs among them, in data.numeric if it holds numbers, in data.dates \
             if it holds dates{date}, or in data.categorical to keep each"
        ))
    }

    /// Inputs that texts share by their hash.
    pub fn hashed(&self, buckets: usize) -> Result<Encoding, DataError> {
        Ok(Encoding::Hashed { fill: self.counted()?.fill, buckets })
    }
}

struct Counted<'a> {
    texts: Vec<&'a str>,
    counts: Vec<usize>,
    fill: Option<String>,
}

/// So many different texts are categories in a table of any size.
const FEW: usize = 20;

impl Encoding {
    /// How many inputs a cell has.
    pub fn width(&self) -> usize {
        match self {
            Self::Numeric { .. } => 1,
            Self::Categorical { categories, .. } => categories.len(),
            Self::Hashed { buckets, .. } => *buckets,
        }
    }

    /// The input of a text among those of its column.
    pub(super) fn input(&self, text: &str) -> Option<usize> {
        match self {
            Self::Numeric { .. } => None,
            Self::Categorical { categories, .. } => {
                categories.binary_search_by(|known| known.as_str().cmp(text)).ok()
            }
            Self::Hashed { buckets, .. } => {
                Some((hash_bytes(BUCKETS, text.as_bytes()) % *buckets as u64) as usize)
            }
        }
    }
}

/// The most inputs that a hashed column may have.
pub const MOST_BUCKETS: usize = 1 << 24;

/// Keeps the hash of texts apart from others.
const BUCKETS: u64 = 0x6275_636b_6574_7300;

pub(super) fn too_large(table: &Table, column: &Column) -> DataError {
    table.error(format!(
        "column `{}`: its numbers are so large or so close to 0 that their mean or deviation overflows; \
         give them in another unit, or leave the column out",
        column.name()
    ))
}

fn nothing(table: &Table, column: &Column) -> DataError {
    table.error(format!(
        "column `{}` has no value in the training rows; leave it out of data.features, or name it in \
         data.exclude",
        column.name()
    ))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean and the deviation (over `n`, as scikit-learn's `StandardScaler`), which is 1 where all
/// values are the same; none where they are not numbers to divide by.
pub(super) fn standard(values: &[f64]) -> Option<(f64, f64)> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let std = (squares / values.len() as f64).sqrt();
    // The mean of equal values rounds, so that their deviation is not quite 0.
    let same = values.iter().all(|value| *value == values[0]);
    let std = if same { 1.0 } else { std };
    (mean.is_finite() && std.is_normal()).then_some((mean, std))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

fn most_frequent(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let runs = values.chunk_by(|a, b| a == b);
    let longest =
        runs.fold(&values[..0], |best, run| if run.len() > best.len() { run } else { best });
    longest[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_is_what_its_name_says() {
        let values = [3.0, 1.0, 1.0, 7.0];
        assert_eq!(mean(&values), 3.0);
        assert_eq!(median(&mut values.to_vec()), 2.0);
        assert_eq!(median(&mut [5.0, 1.0, 2.0]), 2.0);
        assert_eq!(most_frequent(&mut values.to_vec()), 1.0);
        assert_eq!(most_frequent(&mut [2.0, 1.0, 2.0, 1.0, 9.0]), 1.0);
        assert_eq!(standard(&[0.1, 0.1, 0.1]).unwrap().1, 1.0);
        assert_eq!(standard(&[1.0, 3.0]), Some((2.0, 1.0)));
        for wild in [[1e200, -1e200], [1e308, 1.5e308], [0.0, 1e-320]] {
            assert_eq!(standard(&wild), None, "{wild:?}");
        }
    }
}
