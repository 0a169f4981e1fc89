//! The dataset of supervised fine-tuning.

use std::path::PathBuf;
use std::sync::Arc;

use super::encode::Encoded;
use super::packing::{Segment, pack};
use super::reading::Found;
use super::section::SftConfig;
use crate::mix::hash_words;
use crate::{Dataset, Place};

/// The rows of files as ids and weights, one after another.
#[derive(Debug, Default)]
pub(crate) struct Encodings {
    ids: Vec<u32>,
    weights: Vec<f32>,
    rows: Vec<(Arc<PathBuf>, Place, Segment, usize)>,
}

impl Encodings {
    pub fn new(found: impl IntoIterator<Item = Found<Encoded>>) -> Self {
        let mut all = Self::default();
        for Found { path, place, row: encoded } in found {
            let start = all.ids.len();
            all.ids.extend(encoded.ids);
            all.weights.extend(encoded.weights);
            all.rows.push((path, place, start..all.ids.len(), encoded.cut));
        }
        all
    }
}

impl Encodings {
    /// The rows, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = SftRow<'_>> {
        (0..self.rows.len()).map(|row| self.row(row))
    }

    /// A row by its number.
    pub fn row(&self, row: usize) -> SftRow<'_> {
        let (path, place, segment, cut) = &self.rows[row];
        SftRow {
            path,
            place: *place,
            ids: &self.ids[segment.clone()],
            weights: &self.weights[segment.clone()],
            cut: *cut,
        }
    }

    /// A hash of ids and weights.
    pub fn hash(&self) -> u64 {
        self.ids.iter().zip(&self.weights).fold(self.ids.len() as u64, |state, (id, weight)| {
            hash_words(state, &[u64::from(*id) << 32 | u64::from(weight.to_bits())])
        })
    }
}

/// A row as a model reads it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SftRow<'a> {
    /// Its file.
    pub path: &'a PathBuf,
    /// Its place in the file.
    pub place: Place,
    /// Its token ids.
    pub ids: &'a [u32],
    /// With what weight each token is trained to follow those before it; 0: not at all.
    pub weights: &'a [f32],
    /// Tokens that were cut off at its end.
    pub cut: usize,
}

/// Token ids that a model reads and predicts, all segments of all samples in one row, without padding.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SftBatch {
    /// What the model reads.
    pub input_ids: Vec<i64>,
    /// The token that follows each, -100 where it is not trained.
    pub targets: Vec<i64>,
    /// The weight of each target, 0 where it is not trained.
    pub weights: Vec<f32>,
    /// Which segment each token belongs to, counted from 0: attention stays within.
    pub segment_ids: Vec<i64>,
    /// The place of each token in its segment, counted from 0.
    pub positions: Vec<i64>,
}

/// The target of a token that is not trained, as in PyTorch.
const IGNORED: i64 = -100;

impl SftBatch {
    /// Adds segment `number`: each token but the last is read, each but the first a target.
    pub(crate) fn push(&mut self, number: usize, ids: &[u32], weights: &[f32]) {
        for at in 0..ids.len() - 1 {
            let weight = weights[at + 1];
            self.input_ids.push(ids[at].into());
            self.targets.push(if weight > 0.0 { ids[at + 1].into() } else { IGNORED });
            self.weights.push(weight);
            self.segment_ids.push(number as i64);
            self.positions.push(at as i64);
        }
    }
}

/// Samples of one row each, or with packing of several.
#[derive(Debug, Clone)]
pub struct SftSamples {
    encodings: Arc<Encodings>,
    samples: Vec<Vec<Segment>>,
    max_length: usize,
    details: Vec<String>,
}

impl SftSamples {
    pub(super) fn new(encodings: Arc<Encodings>, config: &SftConfig, max_length: usize) -> Self {
        let rows = encodings.rows.iter().map(|(_, _, segment, _)| segment.clone());
        let samples = if config.packing {
            let rows: Vec<_> = rows.collect();
            let mut samples = pack(&rows, max_length, config.packing_strategy);
            // A sample of what is not trained would be a step of nothing.
            let trained = |segment: &Segment| {
                encodings.weights[segment.start + 1..segment.end].iter().any(|weight| *weight > 0.0)
            };
            samples.retain(|sample| sample.iter().any(trained));
            samples
        } else {
            rows.map(|row| vec![row]).collect()
        };
        Self { encodings, samples, max_length, details: Vec::new() }
    }

    /// What [`Dataset::details`] returns.
    #[must_use]
    pub fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// The rows in the order of the files.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = SftRow<'_>> {
        self.encodings.rows()
    }

    /// The tokens of a sample at most.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The lengths of a sample's segments.
    pub fn segments(&self, sample: usize) -> impl Iterator<Item = usize> {
        self.samples[sample].iter().map(ExactSizeIterator::len)
    }

    /// The sum of the weights of the tokens that some samples train.
    pub fn weight(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> f64 {
        let of_segment = |segment: &Segment| -> f64 {
            let weights = &self.encodings.weights[segment.start + 1..segment.end];
            weights.iter().map(|weight| f64::from(*weight)).sum()
        };
        samples.map(|sample| self.samples[sample].iter().map(of_segment).sum::<f64>()).sum()
    }

    /// The most tokens that so many samples together have.
    pub fn most_tokens(&self, samples: usize) -> usize {
        let mut lengths: Vec<usize> = (0..self.len()).map(|i| self.segments(i).sum()).collect();
        lengths.sort_unstable();
        lengths.iter().rev().take(samples).sum()
    }
}

impl Dataset for SftSamples {
    type Batch = SftBatch;

    fn len(&self) -> usize {
        self.samples.len()
    }

    fn batch(&self, samples: &[usize]) -> SftBatch {
        let Encodings { ids, weights, .. } = self.encodings.as_ref();
        let mut batch = SftBatch::default();
        let segments = samples.iter().flat_map(|sample| &self.samples[*sample]);
        for (number, segment) in segments.enumerate() {
            batch.push(number, &ids[segment.clone()], &weights[segment.clone()]);
        }
        batch
    }

    fn unit(&self) -> &'static str {
        "tokens"
    }

    fn units(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> usize {
        samples.map(|sample| self.segments(sample).sum::<usize>()).sum()
    }

    fn fingerprint(&self) -> String {
        let tokens = self.encodings.hash();
        let segments = self.samples.iter().enumerate();
        let hash = segments.fold(tokens, |state, (i, sample)| {
            let ends = sample.iter().flat_map(|segment| [segment.start as u64, segment.end as u64]);
            let words: Vec<u64> = [i as u64].into_iter().chain(ends).collect();
            hash_words(state, &words)
        });
        format!("{hash:016x}")
    }

    fn details(&self) -> Vec<String> {
        self.details.clone()
    }
}
