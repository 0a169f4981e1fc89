//! What embeddings of groups of texts are worth: the definitions of sentence-transformers' evaluators.

use std::collections::HashMap;

use rappel_data::{Dataset, Histories, TextGroups, TextGroupsFormat};
use rappel_tensor::Tensor;

use super::Embedder;
use super::correlation::{pearson, spearman};
use super::recommender::{RETRIEVAL, retrieval};
use super::table::auc;
use crate::Metric;
use crate::metrics::{less, more};

/// Of pairs: anchors find their positives among those of the file.
const PAIRS: &[Metric] =
    &[less("loss"), RETRIEVAL[0], RETRIEVAL[1], RETRIEVAL[2], RETRIEVAL[3], RETRIEVAL[4]];

/// Of triplets: the same, after how often the positive is nearer than all negatives.
const TRIPLETS: &[Metric] = &[
    less("loss"),
    more("accuracy"),
    RETRIEVAL[0],
    RETRIEVAL[1],
    RETRIEVAL[2],
    RETRIEVAL[3],
    RETRIEVAL[4],
];

/// Of pairs with numbers: how their cosines go with these.
const SCORES: &[Metric] = &[less("loss"), more("spearman"), more("pearson")];

/// Of pairs that belong together or do not: how well their cosines separate them.
const CLASSES: &[Metric] = &[less("loss"), more("average_precision"), more("auc")];

/// The metrics of rows of a format, the loss first.
pub(crate) fn sentence_metrics(format: TextGroupsFormat) -> &'static [Metric] {
    match format {
        TextGroupsFormat::Pair => PAIRS,
        TextGroupsFormat::Triplet => TRIPLETS,
        TextGroupsFormat::PairScore => SCORES,
        TextGroupsFormat::PairClass => CLASSES,
    }
}

/// The different texts of some, by the number that each gets in the order in which they come.
#[derive(Default)]
struct Distinct<'a> {
    numbers: HashMap<&'a [u32], u32>,
    texts: Vec<&'a [u32]>,
}

impl<'a> Distinct<'a> {
    fn number(&mut self, text: &'a [u32]) -> u32 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u32 - 1
        })
    }
}

/// The values of the metrics but the loss, for the first `rows` rows.
pub(crate) fn measure(model: &Embedder, data: &TextGroups, rows: usize) -> Vec<f64> {
    let rows = rows.min(data.len());
    match data.format() {
        TextGroupsFormat::Pair => retrieved(model, data, rows).to_vec(),
        TextGroupsFormat::Triplet => {
            [&[accuracy(model, data, rows)][..], &retrieved(model, data, rows)].concat()
        }
        TextGroupsFormat::PairScore => {
            let cosines = cosines(model, data, rows, 1);
            let numbers = &data.numbers()[..rows];
            vec![spearman(&cosines, numbers), pearson(&cosines, numbers)]
        }
        TextGroupsFormat::PairClass => {
            let cosines = cosines(model, data, rows, 1);
            let positive: Vec<bool> = data.numbers()[..rows].iter().map(|n| *n == 1.0).collect();
            vec![average_precision(&cosines, &positive), auc(&cosines, &positive)]
        }
    }
}

/// Each different anchor among the different positives.
fn retrieved(model: &Embedder, data: &TextGroups, rows: usize) -> [f64; RETRIEVAL.len()] {
    let (mut queries, mut documents) = (Distinct::default(), Distinct::default());
    let pairs = (0..rows)
        .map(|row| (queries.number(data.text(row, 0)), documents.number(data.text(row, 1))));
    let (users, items): (Vec<u32>, Vec<u32>) = pairs.unzip();
    let [of_queries, of_documents] =
        [&queries, &documents].map(|texts| unit(model.vectors_of(&texts.texts), model.width()));
    let width = model.width();
    let documents = Tensor::from_slice(&of_documents, [documents.texts.len(), width]);
    let scores = |asked: &[u32]| {
        let rows = asked.iter().flat_map(|query| &of_queries[*query as usize * width..][..width]);
        let rows: Vec<f32> = rows.copied().collect();
        Tensor::from_slice(&rows, [asked.len(), width]).matmul(&documents.t())
    };
    let wanted = Histories::new(queries.texts.len(), &users, &items);
    retrieval(&wanted, documents.size(0), &scores)
}

/// How often the anchor's cosine with the positive is higher than with each negative.
fn accuracy(model: &Embedder, data: &TextGroups, rows: usize) -> f64 {
    let positive = cosines(model, data, rows, 1);
    let mut nearest = vec![f64::NEG_INFINITY; rows];
    for column in 2..data.columns() {
        for (nearest, cosine) in nearest.iter_mut().zip(cosines(model, data, rows, column)) {
            *nearest = nearest.max(cosine);
        }
    }
    let right = positive.iter().zip(&nearest).filter(|(positive, other)| positive > other).count();
    right as f64 / rows as f64
}

/// The cosine of each row's first text with that of a column.
fn cosines(model: &Embedder, data: &TextGroups, rows: usize, column: usize) -> Vec<f64> {
    let texts = |column| (0..rows).map(|row| data.text(row, column)).collect::<Vec<_>>();
    let width = model.width();
    let [first, second] = [0, column].map(|column| unit(model.vectors_of(&texts(column)), width));
    let rows = first.chunks_exact(width).zip(second.chunks_exact(width));
    let product = |(a, b): (&[f32], &[f32])| {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    rows.map(product).collect()
}

/// Vectors of `width` numbers each, made of length 1.
fn unit(mut vectors: Vec<f32>, width: usize) -> Vec<f32> {
    for vector in vectors.chunks_exact_mut(width) {
        let square: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
        let length = square.sqrt().max(1e-12);
        for x in vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
    vectors
}

/// The mean over positive rows of the share of positives among those that score at least as high: scikit-learn's. NaN
/// without a positive row.
fn average_precision(scores: &[f64], positive: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut found, mut seen, mut sum) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let of_them = tied.iter().filter(|row| positive[**row]).count() as f64;
        (found, seen) = (found + of_them, seen + tied.len() as f64);
        sum += of_them * found / seen;
    }
    sum / found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_is_scikit_learns() {
        // average_precision_score([1, 0, 1, 0, 1], [.9, .8, .7, .7, .1])
        let found =
            average_precision(&[0.9, 0.8, 0.7, 0.7, 0.1], &[true, false, true, false, true]);
        assert!((found - (1.0 + 0.5 + 0.6) / 3.0).abs() < 1e-12, "{found}");
        assert!(average_precision(&[0.1], &[false]).is_nan());
    }
}
