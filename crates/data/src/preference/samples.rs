//! The dataset of answers that are preferred to others, or good or bad by themselves.

use std::sync::Arc;

use super::section::Truncation;
use crate::mix::hash_words;
use crate::sft::samples::Encodings;
use crate::{Dataset, SftBatch, SftRow};

/// What a sample is, and what of it a model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Two answers to one prompt, the better first, whose tokens are predicted.
    Pairs,
    /// An answer and whether it is good, whose tokens are predicted.
    Labelled,
    /// Two answers to one prompt, the better first, which are read to their ends.
    Scored,
}

impl Answers {
    /// Answers of a sample.
    pub(super) fn count(self) -> usize {
        if self == Self::Labelled { 1 } else { 2 }
    }
}

/// What a model reads of some samples.
///
/// Answers stand behind their prompts, each a segment, none padded: of pairs first the chosen ones of all samples, then
/// the rejected ones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PreferenceBatch {
    /// The samples' numbers.
    pub samples: Vec<usize>,
    /// The answers with their prompts; targets are the answers' tokens. Where they are scored, each one's last token is
    /// read, too.
    pub answers: SftBatch,
    /// Tokens of each answer.
    pub lengths: Vec<usize>,
    /// Answers behind others' prompts: each prompt with the answer of the sample before it, of the last one for the
    /// first. Empty but for labelled answers.
    pub mismatched: SftBatch,
    /// Of labelled answers, whether they are good.
    pub labels: Vec<bool>,
    /// Of pairs, by how much the better one should be better, where the data says so.
    pub margins: Vec<f32>,
}

/// Pairs of answers, or answers with labels.
#[derive(Debug, Clone)]
pub struct PreferenceSamples {
    encodings: Arc<Encodings>,
    answers: Answers,
    /// The label of each sample as 0 or 1, or its margin where the data has margins.
    values: Arc<Vec<f32>>,
    most: usize,
    truncation: Truncation,
    details: Vec<String>,
}

impl PreferenceSamples {
    pub(super) fn new(
        encodings: Encodings,
        answers: Answers,
        values: Vec<f32>,
        most: usize,
        truncation: Truncation,
    ) -> Self {
        let encodings = Arc::new(encodings);
        Self { encodings, answers, values: Arc::new(values), most, truncation, details: Vec::new() }
    }

    /// What [`Dataset::details`] returns.
    #[must_use]
    pub fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// What a sample is.
    pub fn answers(&self) -> Answers {
        self.answers
    }

    /// The answers with their prompts, in the order of the files: of pairs two after one another.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = SftRow<'_>> {
        self.encodings.rows()
    }

    /// The tokens of a prompt with its answer at most.
    pub fn max_length(&self) -> usize {
        self.most
    }

    /// Of labelled answers, how many are good.
    pub fn good(&self) -> usize {
        self.values.iter().filter(|value| **value == 1.0).count()
    }

    /// Of labelled answers, whether a sample's is good.
    pub fn is_good(&self, sample: usize) -> bool {
        self.values.get(sample) == Some(&1.0)
    }

    /// The most tokens that so many samples together have.
    pub fn most_tokens(&self, samples: usize) -> usize {
        let mut lengths: Vec<usize> = (0..self.len()).map(|i| self.tokens(i)).collect();
        lengths.sort_unstable();
        lengths.iter().rev().take(samples).sum()
    }

    fn tokens(&self, sample: usize) -> usize {
        let count = self.answers.count();
        (0..count).map(|i| self.encodings.row(sample * count + i).ids.len()).sum()
    }

    /// The prompt of one sample with the answer of another.
    fn mismatched(&self, prompt: usize, answer: usize) -> (Vec<u32>, Vec<f32>) {
        let [prompt, answer] = [prompt, answer].map(|sample| self.encodings.row(sample));
        let [asked, before] = [prompt, answer].map(|row| row.ids.len() - length(&row));
        let ids: Vec<u32> = [&prompt.ids[..asked], &answer.ids[before..]].concat();
        let weights = [vec![0.0; asked], vec![1.0; length(&answer)]].concat();
        let most = self.most.min(ids.len());
        match self.truncation {
            Truncation::KeepStart => (ids[..most].to_vec(), weights[..most].to_vec()),
            Truncation::KeepEnd => {
                let from = ids.len() - most;
                (ids[from..].to_vec(), weights[from..].to_vec())
            }
        }
    }
}

/// The tokens of an answer.
fn length(row: &SftRow<'_>) -> usize {
    row.weights.iter().filter(|weight| **weight > 0.0).count()
}

impl Dataset for PreferenceSamples {
    type Batch = PreferenceBatch;

    fn len(&self) -> usize {
        self.encodings.rows().len() / self.answers.count()
    }

    fn batch(&self, samples: &[usize]) -> PreferenceBatch {
        let mut batch = PreferenceBatch { samples: samples.to_vec(), ..PreferenceBatch::default() };
        let count = self.answers.count();
        for answer in 0..count {
            for sample in samples {
                let row = self.encodings.row(sample * count + answer);
                let number = batch.lengths.len();
                if self.answers == Answers::Scored {
                    // One more, so that the last is among those that are read.
                    let ids = [row.ids, &[0]].concat();
                    batch.answers.push(number, &ids, &vec![0.0; ids.len()]);
                } else {
                    batch.answers.push(number, row.ids, row.weights);
                }
                batch.lengths.push(length(&row));
            }
        }
        let of_samples = samples.iter().filter_map(|sample| self.values.get(*sample));
        if self.answers == Answers::Labelled {
            batch.labels = of_samples.map(|label| *label == 1.0).collect();
            for (i, sample) in samples.iter().enumerate() {
                let before = samples[(i + samples.len() - 1) % samples.len()];
                let (ids, weights) = self.mismatched(*sample, before);
                batch.mismatched.push(i, &ids, &weights);
            }
        } else {
            batch.margins = of_samples.copied().collect();
        }
        batch
    }

    fn unit(&self) -> &'static str {
        "tokens"
    }

    fn units(&self, samples: &mut dyn ExactSizeIterator<Item = usize>) -> usize {
        samples.map(|sample| self.tokens(sample)).sum()
    }

    fn fingerprint(&self) -> String {
        let rows = self
            .encodings
            .rows()
            .fold(self.encodings.hash(), |state, row| hash_words(state, &[row.ids.len() as u64]));
        let hash = self
            .values
            .iter()
            .fold(rows, |state, value| hash_words(state, &[u64::from(value.to_bits())]));
        format!("{hash:016x}")
    }

    fn details(&self) -> Vec<String> {
        self.details.clone()
    }
}
