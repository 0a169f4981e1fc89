//! Rows of a table as a model reads them.

use rappel_files::hex;
use rappel_tensor::{DType, Element, Tensor};
use sha2::{Digest, Sha256};

use super::Table;
use super::preprocessing::{Encoded, Preprocessing, Value};
use crate::{DataError, Dataset};

/// Rows that are encoded, with their targets.
#[derive(Debug, Clone)]
pub struct TableRows {
    numbers: Tensor,
    ones: Option<Tensor>,
    targets: Vec<f64>,
    details: Vec<String>,
}

/// Rows that a forward pass reads.
#[derive(Debug, Clone)]
pub struct TableBatch {
    /// The inputs that are numbers, `[rows, n]`.
    pub numbers: Tensor,
    /// The inputs of each row that are 1, i64 `[rows, ones]`, -1 for none; none without categories.
    pub ones: Option<Tensor>,
    /// In the model's units: numbers, or the numbers of classes.
    pub targets: Vec<f64>,
}

impl TableRows {
    /// Encodes rows in the precision of `dtype`, single or double.
    ///
    /// # Errors
    /// As [`Preprocessing::encode`], and for a target that is missing or unknown.
    pub fn new(
        preprocessing: &Preprocessing,
        table: &Table,
        rows: &[usize],
        dtype: DType,
    ) -> Result<Self, DataError> {
        let targets = preprocessing.target.encode(table, rows)?;
        let (batch, notes) = TableBatch::new(preprocessing, table, rows, dtype)?;
        let TableBatch { numbers, ones, .. } = batch;
        Ok(Self { numbers, ones, targets, details: notes })
    }

    /// Puts `details` before the notes.
    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details.splice(0..0, details);
        self
    }

    /// The number of numbers that a row is kept as: its numbers, and two in single precision for each place of an
    /// input that is 1.
    pub fn row_size(&self) -> usize {
        self.numbers.size(1) + 2 * self.ones.as_ref().map_or(0, |ones| ones.size(1))
    }

    /// The targets, in the model's units.
    pub fn targets(&self) -> &[f64] {
        &self.targets
    }
}

impl TableBatch {
    /// Encodes rows without their targets; and what was done beyond the encoding, in words.
    ///
    /// # Errors
    /// As [`Preprocessing::encode`].
    pub fn new(
        preprocessing: &Preprocessing,
        table: &Table,
        rows: &[usize],
        dtype: DType,
    ) -> Result<(Self, Vec<String>), DataError> {
        match dtype {
            DType::F64 => Ok(tensors(preprocessing.encode::<f64>(table, rows)?)),
            _ => Ok(tensors(preprocessing.encode::<f32>(table, rows)?)),
        }
    }
}

fn tensors<T: Value + Element>(encoded: Encoded<T>) -> (TableBatch, Vec<String>) {
    let Encoded { rows, numbers, numbers_at, ones, notes } = encoded;
    let numbers = Tensor::from_slice(&numbers, [rows, numbers_at.len()]);
    let ones = (!ones.is_empty()).then(|| Tensor::from_slice(&ones, [rows, ones.len() / rows]));
    (TableBatch { numbers, ones, targets: Vec::new() }, notes)
}

impl Dataset for TableRows {
    type Batch = TableBatch;

    fn len(&self) -> usize {
        self.targets.len()
    }

    fn batch(&self, samples: &[usize]) -> TableBatch {
        let ids: Vec<i64> = samples.iter().map(|row| *row as i64).collect();
        let ids = Tensor::from_slice(&ids, [ids.len()]);
        TableBatch {
            numbers: self.numbers.index_select(0, &ids),
            ones: self.ones.as_ref().map(|ones| ones.index_select(0, &ids)),
            targets: samples.iter().map(|row| self.targets[*row]).collect(),
        }
    }

    fn unit(&self) -> &'static str {
        "rows"
    }

    fn fingerprint(&self) -> String {
        /// Rows that are hashed at a time: no second copy of all.
        const ROWS: usize = 4096;
        let mut hash = Sha256::new();
        let mut add = |values: &[f64]| {
            for value in values {
                hash.update(value.to_bits().to_le_bytes());
            }
        };
        for tensor in [Some(&self.numbers), self.ones.as_ref()].into_iter().flatten() {
            for start in (0..self.len()).step_by(ROWS) {
                let part = tensor.narrow(0, start, ROWS.min(self.len() - start));
                add(&part.to_dtype(DType::F64).to_vec());
            }
        }
        add(&self.targets);
        hex(&hash.finalize())
    }

    fn details(&self) -> Vec<String> {
        self.details.clone()
    }
}
