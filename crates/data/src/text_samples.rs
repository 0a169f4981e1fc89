//! Samples of text: windows of a stream of tokens.

use std::ops::Range;
use std::sync::Arc;

use crate::{DataError, Dataset, TokenStream};

/// Token ids that a model reads and predicts, row after row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// `[batch, time]`: what the model reads.
    pub input_ids: Vec<i64>,
    /// `[batch, time]`: the token that follows each input token.
    pub targets: Vec<i64>,
    /// `[batch, time]`: which document of its row an input token belongs to, counted from 0. The
    /// end-of-document id belongs to the document that it closes. Attention that stays within a
    /// document compares these. Empty where nobody asked for them.
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

/// The samples of a stream of tokens.
///
/// Sample `i` reads the tokens `i T .. i T + T` (`T` the sequence length) and predicts
/// `i T + 1 .. i T + T + 1`, so each token but the first is predicted once an epoch; up to `T`
/// tokens at the stream's end fill no sample and are left out.
///
/// ```
/// use rappel_data::{DataError, Dataset, TextSamples, TokenStream, Tokens};
/// use std::sync::Arc;
///
/// let tokens = Tokens::U16((0..9).collect());
/// let stream = TokenStream { tokens, document_starts: vec![0, 3], text_bytes: 9 };
/// let samples = TextSamples::new("training", Arc::new(stream), 4)?.with_segments(true);
/// let batch = samples.batch(&[0, 1]);
/// assert_eq!(batch.input_ids, [0, 1, 2, 3, 4, 5, 6, 7]);
/// assert_eq!(batch.targets, [1, 2, 3, 4, 5, 6, 7, 8]);
/// assert_eq!(batch.segment_ids, [0, 0, 0, 1, 0, 0, 0, 0]);
/// # Ok::<(), DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TextSamples {
    stream: Arc<TokenStream>,
    sequence_length: usize,
    segments: bool,
    details: Vec<String>,
    /// Of the stream, where it is known already.
    fingerprint: Option<u64>,
}

impl TextSamples {
    /// The samples of `sequence_length` tokens; `split` is what errors call the stream.
    ///
    /// # Errors
    /// [`DataError::Zero`]; [`DataError::TooShort`] where no sample fits.
    pub fn new(
        split: &'static str,
        stream: Arc<TokenStream>,
        sequence_length: usize,
    ) -> Result<Self, DataError> {
        if sequence_length == 0 {
            return Err(DataError::Zero { name: "sequence_length" });
        }
        let tokens = stream.len();
        if tokens.saturating_sub(1) < sequence_length {
            return Err(DataError::TooShort { split, tokens, sequence_length });
        }
        Ok(Self {
            stream,
            sequence_length,
            segments: false,
            details: Vec::new(),
            fingerprint: None,
        })
    }

    /// Whether batches have [`segment_ids`](Batch::segment_ids).
    #[must_use]
    pub fn with_segments(self, segments: bool) -> Self {
        Self { segments, ..self }
    }

    /// What [`Dataset::details`] returns.
    #[must_use]
    pub fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// The stream's fingerprint, which is computed from all of it.
    #[must_use]
    pub(crate) fn with_fingerprint(self, fingerprint: u64) -> Self {
        Self { fingerprint: Some(fingerprint), ..self }
    }

    /// The number of tokens that a sample reads.
    pub fn sequence_length(&self) -> usize {
        self.sequence_length
    }

    /// The stream that samples are cut from.
    pub fn stream(&self) -> &TokenStream {
        &self.stream
    }

    /// The places in the stream that the first `samples` samples predict.
    pub fn targets(&self, samples: usize) -> Range<usize> {
        1..samples * self.sequence_length + 1
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

impl Dataset for TextSamples {
    type Batch = Batch;

    fn len(&self) -> usize {
        (self.stream.len() - 1) / self.sequence_length
    }

    fn batch(&self, samples: &[usize]) -> Batch {
        let time = self.sequence_length;
        let size = samples.len() * time;
        let mut batch = Batch {
            input_ids: Vec::with_capacity(size),
            targets: Vec::with_capacity(size),
            segment_ids: Vec::new(),
            batch: samples.len(),
            time,
        };
        for sample in samples {
            let first = sample * time;
            self.stream.tokens.copy_range(first..first + time, &mut batch.input_ids);
            self.stream.tokens.copy_range(first + 1..first + 1 + time, &mut batch.targets);
            if self.segments {
                self.push_segments(first..first + time, &mut batch.segment_ids);
            }
        }
        batch
    }

    fn unit(&self) -> &'static str {
        "tokens"
    }

    fn units(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> usize {
        samples.len() * self.sequence_length
    }

    fn size(&self) -> usize {
        self.stream.len()
    }

    fn fingerprint(&self) -> String {
        format!("{:016x}", self.fingerprint.unwrap_or_else(|| self.stream.fingerprint()))
    }

    fn details(&self) -> Vec<String> {
        self.details.clone()
    }
}
