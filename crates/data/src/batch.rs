//! Batches as a pure function of the step.

use std::ops::Range;
use std::sync::Arc;

use crate::{DataError, Order, TokenStream};

/// Token ids that a model reads and predicts, row after row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// `[batch, time]`: what the model reads.
    pub input_ids: Vec<i64>,
    /// `[batch, time]`: the token that follows each input token.
    pub targets: Vec<i64>,
    /// `[batch, time]`: which document of its row an input token belongs to, counted from 0. The
    /// end-of-document id belongs to the document that it closes. Attention that stays within a
    /// document compares these.
    pub segment_ids: Vec<i64>,
    /// How many rows.
    pub batch: usize,
    /// How many tokens a row reads.
    pub time: usize,
}

impl Batch {
    /// `[batch, time]`: the place in its row where each input token's document starts, 0 where it
    /// starts before the row.
    pub fn segment_starts(&self) -> Vec<i64> {
        let mut starts = Vec::with_capacity(self.segment_ids.len());
        for row in self.segment_ids.chunks(self.time.max(1)) {
            let mut start = 0;
            for place in 0..row.len() {
                if place > 0 && row[place] != row[place - 1] {
                    start = place as i64;
                }
                starts.push(start);
            }
        }
        starts
    }
}

/// How samples are cut, ordered and grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Tokens that a sample reads, at least 1.
    pub sequence_length: usize,
    /// Samples of one optimizer step, all micro-batches together, at least 1.
    pub batch_size: usize,
    /// Whether each epoch has an order of its own; otherwise all go in the stream's order.
    pub shuffle: bool,
    /// Whether an epoch's last, smaller batch is left out.
    pub drop_last: bool,
    /// The run's seed, which with the epoch chooses the order.
    pub seed: u64,
}

/// The batches of a stream: `batch(step)` can be asked for any step at any time, and answers the
/// same whatever was asked before.
///
/// Sample `i` reads the tokens `i T .. i T + T` (`T` the sequence length) and predicts
/// `i T + 1 .. i T + T + 1`, so each token but the first is predicted once an epoch; up to `T`
/// tokens at the stream's end fill no sample and are left out. Step `s` of epoch `e` takes the
/// samples `p_e(s B) .. p_e(s B + B)`, where `p_e` is the epoch's [`Permutation`].
///
/// ```
/// use rappel_data::{BatchOptions, Batches, TokenStream, Tokens};
/// use std::sync::Arc;
///
/// let tokens = Tokens::U16((0..9).collect());
/// let stream = TokenStream { tokens, document_starts: vec![0, 3], text_bytes: 9 };
/// let options = BatchOptions {
///     sequence_length: 4, batch_size: 2, shuffle: false, drop_last: false, seed: 0,
/// };
/// let batches = Batches::new(Arc::new(stream), options)?;
/// let batch = batches.batch(0);
/// assert_eq!(batch.input_ids, [0, 1, 2, 3, 4, 5, 6, 7]);
/// assert_eq!(batch.targets, [1, 2, 3, 4, 5, 6, 7, 8]);
/// assert_eq!(batch.segment_ids, [0, 0, 0, 1, 0, 0, 0, 0]);
/// # Ok::<(), rappel_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    stream: Arc<TokenStream>,
    options: BatchOptions,
    samples: usize,
}

impl Batches {
    /// The training batches of a stream.
    ///
    /// # Errors
    /// [`DataError::Zero`], [`DataError::TooShort`] where no sample fits, and
    /// [`DataError::TooFewSamples`] where every batch would be dropped.
    pub fn new(stream: Arc<TokenStream>, options: BatchOptions) -> Result<Self, DataError> {
        Self::of_split("training", stream, options)
    }

    /// The validation batches: in the stream's order, the last one smaller, at most `max_batches`.
    ///
    /// # Errors
    /// As [`new`](Self::new); a `max_batches` of 0 is [`DataError::Zero`].
    pub fn validation(
        stream: Arc<TokenStream>,
        sequence_length: usize,
        batch_size: usize,
        max_batches: Option<usize>,
    ) -> Result<Self, DataError> {
        let options =
            BatchOptions { sequence_length, batch_size, shuffle: false, drop_last: false, seed: 0 };
        let mut batches = Self::of_split("validation", stream, options)?;
        if let Some(max_batches) = max_batches {
            at_least_one("max_batches", max_batches)?;
            batches.samples = batches.samples.min(max_batches.saturating_mul(batch_size));
        }
        Ok(batches)
    }

    fn of_split(
        split: &'static str,
        stream: Arc<TokenStream>,
        options: BatchOptions,
    ) -> Result<Self, DataError> {
        let BatchOptions { sequence_length, batch_size, .. } = options;
        at_least_one("sequence_length", sequence_length)?;
        at_least_one("batch_size", batch_size)?;
        let tokens = stream.len();
        let samples = tokens.saturating_sub(1) / sequence_length;
        if samples == 0 {
            return Err(DataError::TooShort { split, tokens, sequence_length });
        }
        let batches = Self { stream, options, samples };
        batches.order().check()?;
        Ok(batches)
    }

    /// Samples of one epoch, dropped ones included.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Batches of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.order().steps_per_epoch()
    }

    fn order(&self) -> Order {
        let BatchOptions { batch_size, shuffle, drop_last, seed, .. } = self.options;
        Order { samples: self.samples, batch_size, shuffle, drop_last, seed }
    }

    /// The steps that `epochs` passes take, rounded up to a whole step.
    pub fn steps(&self, epochs: f64) -> u64 {
        (epochs * self.steps_per_epoch() as f64).ceil() as u64
    }

    /// The passes that `steps` make.
    pub fn epochs(&self, steps: u64) -> f64 {
        steps as f64 / self.steps_per_epoch() as f64
    }

    /// The places in the stream that one epoch predicts.
    pub fn target_range(&self) -> Range<usize> {
        1..self.samples * self.options.sequence_length + 1
    }

    /// The stream the batches are cut from.
    pub fn stream(&self) -> &Arc<TokenStream> {
        &self.stream
    }

    /// How they are cut, ordered and grouped.
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// The batch of a step, counted from 0 on through all epochs.
    pub fn batch(&self, step: u64) -> Batch {
        self.micro_batch(step, 0, 1)
    }

    /// Part `index` of `count` of a step's batch: the parts, one after another, are the batch.
    ///
    /// With fewer rows than parts, which only an epoch's last batch can have, some parts are empty.
    ///
    /// # Panics
    /// If `index` is not less than `count`.
    #[track_caller]
    pub fn micro_batch(&self, step: u64, index: usize, count: usize) -> Batch {
        self.collect(&self.order().part(step, index, count))
    }

    /// Which samples a step takes, in the order of its rows.
    pub fn sample_indices(&self, step: u64) -> Vec<usize> {
        self.order().samples(step)
    }

    fn collect(&self, samples: &[usize]) -> Batch {
        let time = self.options.sequence_length;
        let size = samples.len() * time;
        let mut batch = Batch {
            input_ids: Vec::with_capacity(size),
            targets: Vec::with_capacity(size),
            segment_ids: Vec::with_capacity(size),
            batch: samples.len(),
            time,
        };
        for sample in samples {
            let first = sample * time;
            self.stream.tokens.copy_range(first..first + time, &mut batch.input_ids);
            self.stream.tokens.copy_range(first + 1..first + 1 + time, &mut batch.targets);
            self.push_segments(first..first + time, &mut batch.segment_ids);
        }
        batch
    }

    fn push_segments(&self, places: Range<usize>, segment_ids: &mut Vec<i64>) {
        let starts = &self.stream.document_starts;
        let mut next = starts.partition_point(|&start| start <= places.start);
        let mut segment = 0;
        for place in places {
            if next < starts.len() && starts[next] == place {
                segment += 1;
                next += 1;
            }
            segment_ids.push(segment);
        }
    }
}

fn at_least_one(name: &'static str, value: usize) -> Result<(), DataError> {
    if value == 0 { Err(DataError::Zero { name }) } else { Ok(()) }
}
