//! Batches as a pure function of the step.

use std::ops::Range;
use std::sync::Arc;

use crate::{DataError, Drawing, Order, TokenStream};

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

/// The batches of a stream: `batch(step)` can be asked for any step at any time, and answers the
/// same whatever was asked before.
///
/// Sample `i` reads the tokens `i T .. i T + T` (`T` the sequence length) and predicts
/// `i T + 1 .. i T + T + 1`, so each token but the first is predicted once an epoch; up to `T`
/// tokens at the stream's end fill no sample and are left out. Which samples a step takes is the
/// [`Order`]'s.
///
/// ```
/// use rappel_data::{Batches, DataError, Drawing, Order, TokenStream, Tokens};
/// use std::sync::Arc;
///
/// let tokens = Tokens::U16((0..9).collect());
/// let stream = TokenStream { tokens, document_starts: vec![0, 3], text_bytes: 9 };
/// let drawing = Drawing { shuffle: false, ..Drawing::default() };
/// let batches =
///     Batches::new(Arc::new(stream), 4, |samples| Order::new(samples, 2.into(), drawing))?;
/// let batch = batches.batch(0);
/// assert_eq!(batch.input_ids, [0, 1, 2, 3, 4, 5, 6, 7]);
/// assert_eq!(batch.targets, [1, 2, 3, 4, 5, 6, 7, 8]);
/// assert_eq!(batch.segment_ids, [0, 0, 0, 1, 0, 0, 0, 0]);
/// # Ok::<(), DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    stream: Arc<TokenStream>,
    sequence_length: usize,
    order: Order,
}

impl Batches {
    /// The training batches of a stream, in samples of `sequence_length` tokens; `order` is told how
    /// many samples there are.
    ///
    /// # Errors
    /// [`DataError::Zero`], [`DataError::TooShort`] where no sample fits, and those of the order.
    pub fn new<E: From<DataError>>(
        stream: Arc<TokenStream>,
        sequence_length: usize,
        order: impl FnOnce(usize) -> Result<Order, E>,
    ) -> Result<Self, E> {
        let order = order(samples_in("training", &stream, sequence_length)?)?;
        Ok(Self { stream, sequence_length, order })
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
        at_least_one("max_batches", max_batches.unwrap_or(1))?;
        at_least_one("batch_size", batch_size)?;
        let samples = samples_in("validation", &stream, sequence_length)?;
        let most = max_batches.map_or(samples, |batches| batches.saturating_mul(batch_size));
        let drawing = Drawing { shuffle: false, ..Drawing::default() };
        let order = Order::new(samples.min(most), batch_size.into(), drawing)?;
        Ok(Self { stream, sequence_length, order })
    }

    /// Which samples a step takes.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Tokens that a sample reads.
    pub fn sequence_length(&self) -> usize {
        self.sequence_length
    }

    /// The places in the stream that one epoch predicts.
    pub fn target_range(&self) -> Range<usize> {
        1..self.order.len() * self.sequence_length + 1
    }

    /// The stream the batches are cut from.
    pub fn stream(&self) -> &Arc<TokenStream> {
        &self.stream
    }

    /// The batch of a step, counted from 0 on through all epochs.
    pub fn batch(&self, step: u64) -> Batch {
        self.micro_batch(step, 0, 1)
    }

    /// Part `index` of `count` of a step's batch: the parts, one after another, are the batch.
    ///
    /// With fewer rows than parts, some parts are empty.
    ///
    /// # Panics
    /// If `index` is not less than `count`.
    #[track_caller]
    pub fn micro_batch(&self, step: u64, index: usize, count: usize) -> Batch {
        self.collect(&self.order.part(step, index, count))
    }

    fn collect(&self, samples: &[usize]) -> Batch {
        let time = self.sequence_length;
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

/// How many samples of `sequence_length` tokens there are.
fn samples_in(
    split: &'static str,
    stream: &TokenStream,
    sequence_length: usize,
) -> Result<usize, DataError> {
    at_least_one("sequence_length", sequence_length)?;
    let tokens = stream.len();
    match tokens.saturating_sub(1) / sequence_length {
        0 => Err(DataError::TooShort { split, tokens, sequence_length }),
        samples => Ok(samples),
    }
}

fn at_least_one(name: &'static str, value: usize) -> Result<(), DataError> {
    if value == 0 { Err(DataError::Zero { name }) } else { Ok(()) }
}
