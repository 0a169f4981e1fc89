//! Samples that a model learns from, whatever they are.

use std::ops::Range;
use std::sync::Arc;

/// Samples that a model learns from: a pure function of a sample's number.
///
/// Text, tables and whatever else a program has are datasets; which samples a step takes is the
/// [`Order`](crate::Order)'s.
///
/// ```
/// use rappel_data::Dataset;
/// struct Squares;
///
/// impl Dataset for Squares {
///     type Batch = Vec<[f64; 2]>;
///
///     fn len(&self) -> usize {
///         100
///     }
///
///     fn batch(&self, samples: &[usize]) -> Self::Batch {
///         samples.iter().map(|i| [*i as f64, (i * i) as f64]).collect()
///     }
///
///     fn fingerprint(&self) -> String {
///         "squares of 0 to 99".to_owned()
///     }
/// }
///
/// assert_eq!(Squares.batch(&[3, 5]), [[3.0, 9.0], [5.0, 25.0]]);
/// assert_eq!((Squares.unit(), Squares.units(&mut (0..4))), ("samples", 4));
/// ```
pub trait Dataset: Send + Sync {
    /// Samples together, as one forward pass reads them.
    type Batch;

    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// These samples, in this order.
    fn batch(&self, samples: &[usize]) -> Self::Batch;

    /// What the size of data and the speed of training are counted in, in the plural: `tokens`, `rows`.
    fn unit(&self) -> &'static str {
        "samples"
    }

    /// The number of units of some samples.
    fn units(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> usize {
        samples.len()
    }

    /// The number of units of all data, whether or not samples hold them.
    fn size(&self) -> usize {
        self.units(&mut (0..self.len()))
    }

    /// A hash of the data, or whatever else distinguishes it from other data: a run is only resumed with the
    /// data that it began with.
    fn fingerprint(&self) -> String;

    /// More about the data for whoever starts a run, such as `4096 in the vocabulary`; then lines of notes.
    fn details(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The samples that a validation goes through, in their own order.
#[derive(Debug)]
pub struct HeldOut<D> {
    data: Arc<D>,
    samples: usize,
    batch_size: usize,
}

impl<D> Clone for HeldOut<D> {
    fn clone(&self) -> Self {
        Self { data: Arc::clone(&self.data), ..*self }
    }
}

impl<D: Dataset> HeldOut<D> {
    /// All samples of `data`, `batch_size` in a batch, the last one smaller.
    ///
    /// # Panics
    /// If `batch_size` is 0.
    pub fn new(data: impl Into<Arc<D>>, batch_size: usize) -> Self {
        assert!(batch_size > 0, "HeldOut: a batch_size of 0");
        let data = data.into();
        Self { samples: data.len(), data, batch_size }
    }

    /// At most the first `batches` batches.
    #[must_use]
    pub fn at_most(self, batches: usize) -> Self {
        Self { samples: self.samples.min(batches.saturating_mul(self.batch_size)), ..self }
    }

    /// The data that the samples are of.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// The samples' numbers.
    pub fn samples(&self) -> Range<usize> {
        0..self.samples
    }

    /// The batches, one after another.
    pub fn batches(&self) -> impl Iterator<Item = D::Batch> {
        (0..self.samples).step_by(self.batch_size).map(|first| {
            let last = first.saturating_add(self.batch_size).min(self.samples);
            self.data.batch(&(first..last).collect::<Vec<_>>())
        })
    }
}
