//! Items ranked for users, in blocks of them: the scores of all users are never in memory.

use rappel_config::{Options, Words};
use rappel_data::{Distribution, Histories, NegativeSampler};
use rappel_tensor::{DType, Key, Tensor, no_grad};
use rayon::prelude::*;

use super::metrics::{OF_LENGTH, metrics, of_all, of_user};
use crate::Metric;
use crate::metrics::more;

/// Scores that are in memory at a time, about.
const SCORES: usize = 1 << 22;

/// Users of a block at most: a model that reads histories reads so many.
const USERS: usize = 256;

/// What an item that is to be found is ranked among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Candidates {
    /// All items.
    All,
    /// Items drawn alike.
    Uniform,
    /// Items drawn as often as they were taken.
    Popularity,
}

/// The section `evaluation`: how recommendations are measured.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct EvaluationOptions {
    /// lengths of the lists that are measured
    #[option(default = [10], range = 1..=10_000, aka("topk", "ks"))]
    pub k: Vec<usize>,
    /// what held-out items are ranked among: all that the user had not taken before, or some of those, drawn alike or as
    /// often as they were taken; figures of the three cannot be compared
    #[option(default = Candidates::All, aka("mode"))]
    pub candidates: Candidates,
    /// how many are drawn for each held-out item
    #[option(default = 99, range = 1.., aka("n_negatives", "sample_num"))]
    pub negatives: usize,
}

impl EvaluationOptions {
    /// In words.
    pub fn describe(&self, items: usize) -> String {
        match self.candidates {
            Candidates::All => {
                format!(
                    "each held-out item among all {items} items but those that the user had taken before"
                )
            }
            drawn => {
                let (negatives, how) = (
                    self.negatives,
                    if drawn == Candidates::Uniform { "alike" } else { "by popularity" },
                );
                format!(
                    "each held-out item among {negatives} that the user had not taken, drawn {how}"
                )
            }
        }
    }
}

/// Best items of a user, the best one first, each with its score. Of equals the one of the lower number comes first.
pub(super) fn best(scores: &[f32], length: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(length + 1);
    for (item, score) in scores.iter().enumerate() {
        let beats = best.len() < length || best.last().is_some_and(|(_, least)| score > least);
        // An item that is not to be recommended is at minus infinity, and so is no number.
        if beats && *score > f32::NEG_INFINITY {
            let at = best.partition_point(|(_, other)| other >= score);
            best.insert(at, (item as u32, *score));
            best.truncate(length);
        }
    }
    best
}

/// Calls `each` with the scores `[items]` of each of some users, and their place among these; results in order.
pub(super) fn for_users<R: Send>(
    users: &[u32],
    items: usize,
    scores: &dyn Fn(&[u32]) -> Tensor,
    each: impl Fn(usize, &mut [f32]) -> R + Sync,
) -> Vec<R> {
    let block = (SCORES / items.max(1)).clamp(1, USERS);
    let mut results = Vec::with_capacity(users.len());
    for (number, users) in users.chunks(block).enumerate() {
        let scores = no_grad(|| scores(users).to_dtype(DType::F32).contiguous());
        let mut scores = scores.to_vec::<f32>();
        let rows = scores.par_chunks_mut(items).enumerate();
        results.par_extend(rows.map(|(i, row)| each(number * block + i, row)));
    }
    results
}

/// What was asked of a model that ranks.
pub(super) struct Ranking<'a> {
    /// The items to find.
    pub wanted: &'a Histories,
    /// What is known of each user before: it is not told.
    pub known: &'a Histories,
    pub items: usize,
    pub options: &'a EvaluationOptions,
}

/// Keeps the numbers that choose candidates apart from others.
const CANDIDATES: Key = Key::new(0x6361_6e64);

impl Ranking<'_> {
    /// The values of the [`metrics`](super::metrics::metrics) for scores `[users, items]` of some users.
    pub fn measure(&self, scores: &dyn Fn(&[u32]) -> Tensor) -> Vec<f64> {
        let of_users = 0..self.wanted.users() as u32;
        let users: Vec<u32> =
            of_users.filter(|user| !self.wanted.of(*user as usize).is_empty()).collect();
        let longest = self.options.k.iter().copied().max().unwrap_or(1);
        let sampler = self.sampler();
        let lists = for_users(&users, self.items, scores, |at, row| {
            self.leave(users[at], sampler.as_ref(), row);
            best(row, longest).into_iter().map(|(item, _)| item).collect::<Vec<u32>>()
        });
        self.options.k.iter().flat_map(|length| self.of_length(*length, &users, &lists)).collect()
    }

    fn of_length(&self, length: usize, users: &[u32], lists: &[Vec<u32>]) -> Vec<f64> {
        let mut sums = [0.0; OF_LENGTH - 2];
        let mut told = vec![0; self.items];
        for (user, list) in users.iter().zip(lists) {
            let list = &list[..length.min(list.len())];
            let hits: Vec<bool> =
                list.iter().map(|item| self.wanted.has(*user as usize, *item)).collect();
            let mut wanted = self.wanted.sorted(*user as usize).to_vec();
            wanted.dedup();
            let found = of_user(&hits, length, wanted.len());
            sums.iter_mut().zip(found).for_each(|(sum, value)| *sum += value);
            for item in list {
                told[*item as usize] += 1;
            }
        }
        let means = sums.map(|sum| sum / users.len() as f64);
        [&means[..], &of_all(&told)].concat()
    }

    fn sampler(&self) -> Option<NegativeSampler> {
        let of = match self.options.candidates {
            Candidates::All => return None,
            Candidates::Uniform => Distribution::Uniform,
            Candidates::Popularity => Distribution::Popularity,
        };
        let all = self.known.followed_by(self.wanted);
        Some(NegativeSampler::new(all.into(), self.items, of, 1.0))
    }

    /// Leaves the scores of the items that may be recommended to a user; those of others become minus infinity.
    fn leave(&self, user: u32, sampler: Option<&NegativeSampler>, row: &mut [f32]) {
        let wanted = self.wanted.sorted(user as usize);
        let Some(sampler) = sampler else {
            for item in self.known.of(user as usize) {
                if wanted.binary_search(item).is_err() {
                    row[*item as usize] = f32::NEG_INFINITY;
                }
            }
            return;
        };
        let count = self.options.negatives * wanted.len();
        let key = CANDIDATES.with(u64::from(user));
        let drawn = sampler.draw(key, &[user], count);
        let mut among: Vec<u32> = drawn.into_iter().chain(wanted.iter().copied()).collect();
        among.sort_unstable();
        for (item, score) in row.iter_mut().enumerate() {
            if among.binary_search(&(item as u32)).is_err() {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// What [`retrieval`] measures.
pub(crate) const RETRIEVAL: [Metric; 5] =
    [more("ndcg@10"), more("mrr@10"), more("recall@1"), more("recall@5"), more("recall@10")];

/// The values of [`RETRIEVAL`] where each query is to find its own among all `items` documents, by scores `[queries, items]`
/// of some queries.
pub(crate) fn retrieval(
    wanted: &Histories,
    items: usize,
    scores: &dyn Fn(&[u32]) -> Tensor,
) -> [f64; RETRIEVAL.len()] {
    let lengths = vec![1, 5, 10];
    let names: Vec<&str> = metrics(&lengths)[1..].iter().map(|metric| metric.name).collect();
    let options = EvaluationOptions { k: lengths, ..EvaluationOptions::default() };
    let known = Histories::default();
    let found = Ranking { wanted, known: &known, items, options: &options }.measure(scores);
    RETRIEVAL.map(|metric| {
        let place = names.iter().position(|name| *name == metric.name);
        found[place.expect("a metric of lists")]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_of_equals_the_lower_number() {
        let scores = [0.5, 2.0, f32::NEG_INFINITY, 2.0, 1.0, f32::NAN];
        let items =
            |length| best(&scores, length).iter().map(|(item, _)| *item).collect::<Vec<_>>();
        assert_eq!(items(3), [1, 3, 4]);
        assert_eq!(items(9), [1, 3, 4, 0]);
    }

    #[test]
    fn figures_are_those_of_lists_made_by_hand() {
        // Two users: one finds the second of its two at the second place, the other nothing.
        let wanted = Histories::new(2, &[0, 0, 1], &[1, 3, 0]);
        let known = Histories::new(2, &[0, 1], &[0, 1]);
        let rows = [[9.0, 3.0, 4.0, 1.0], [1.0, 9.0, 4.0, 3.0]];
        let scores = |users: &[u32]| {
            let rows: Vec<f64> = users.iter().flat_map(|user| rows[*user as usize]).collect();
            Tensor::from_slice(&rows, [users.len(), 4])
        };
        let measure = |options: &EvaluationOptions| {
            Ranking { wanted: &wanted, known: &known, items: 4, options }.measure(&scores)
        };
        let found = measure(&EvaluationOptions { k: vec![2], ..EvaluationOptions::default() });
        let gain = 1.0 / 3.0_f64.log2();
        let expected = [gain / (1.0 + gain) / 2.0, 0.25, 0.5, 0.25, 0.125, 0.25, 0.75, 0.375];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        let drawn = EvaluationOptions { candidates: Candidates::Uniform, negatives: 1, k: vec![2] };
        assert_eq!(measure(&drawn), measure(&drawn));
    }

    #[test]
    fn figures_are_recboles() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/recommendation/metrics.json");
        let golden: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let lists =
            |key: &str| -> Vec<Vec<u32>> { serde_json::from_value(golden[key].clone()).unwrap() };
        let (lists, wanted) = (lists("lists"), lists("wanted"));
        let items = golden["items"].as_u64().unwrap() as usize;
        let pairs = wanted
            .iter()
            .enumerate()
            .flat_map(|(user, of)| of.iter().map(move |i| (user as u32, *i)));
        let (users, taken): (Vec<u32>, Vec<u32>) = pairs.unzip();
        let (wanted, known) = (Histories::new(lists.len(), &users, &taken), Histories::default());
        let scores = |users: &[u32]| {
            let mut rows = vec![0.0_f64; users.len() * items];
            for (row, user) in rows.chunks_mut(items).zip(users) {
                for (place, item) in lists[*user as usize].iter().enumerate() {
                    row[*item as usize] = 10.0 - place as f64;
                }
            }
            Tensor::from_slice(&rows, [users.len(), items])
        };
        let options = EvaluationOptions { k: vec![3, 10], ..EvaluationOptions::default() };
        let found =
            Ranking { wanted: &wanted, known: &known, items, options: &options }.measure(&scores);
        for (metric, found) in super::super::metrics::metrics(&[3, 10])[1..].iter().zip(found) {
            let expected = golden["values"][metric.name].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-9, "{}: {found}, {expected}", metric.name);
        }
    }
}
