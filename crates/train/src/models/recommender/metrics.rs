//! What a list of recommendations is worth: RecBole's definitions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::Metric;
use crate::metrics::{less, more};

/// Metrics of a list of one length, in the order of [`of_user`].
const OF_LIST: [&str; 6] = ["ndcg", "recall", "hit", "mrr", "map", "precision"];

/// The loss, then the metrics of lists of these lengths: for each length those of users, their mean, then those of all lists
/// together. Kept once for all that ask: how long lists are is the config's choice, and names of metrics live as long as the
/// program.
pub(super) fn metrics(lengths: &[usize]) -> &'static [Metric] {
    static KNOWN: Mutex<BTreeMap<Vec<usize>, &'static [Metric]>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(metrics) = known.get(lengths) {
        return metrics;
    }
    let mut metrics = vec![less("loss")];
    for length in lengths {
        let named = |name: &str| -> &'static str { format!("{name}@{length}").leak() };
        metrics.extend(OF_LIST.map(|name| more(named(name))));
        metrics.extend([more(named("coverage")), less(named("gini"))]);
    }
    let metrics: &'static [Metric] = metrics.leak();
    known.insert(lengths.to_vec(), metrics);
    metrics
}

/// How many of [`metrics`] there are for each length.
pub(super) const OF_LENGTH: usize = OF_LIST.len() + 2;

/// The metrics of one user's list: which of its places are hits, of `wanted` items that there are to find.
///
/// ```text
/// ndcg = sum over hits 1 / log2(place + 1) over the same of min(wanted, length) hits at the top
/// recall = hits / wanted, hit = [hits > 0], mrr = 1 / place of the first hit
/// map = sum over hits of (hits up to there / place) / min(wanted, length), precision = hits / length
/// ```
pub(super) fn of_user(hits: &[bool], length: usize, wanted: usize) -> [f64; OF_LIST.len()] {
    let discount = |place: usize| 1.0 / ((place + 1) as f64).log2();
    let most = wanted.min(length);
    let ideal: f64 = (1..=most).map(discount).sum();
    let (mut found, mut gain, mut precisions, mut first) = (0_usize, 0.0, 0.0, 0.0);
    for place in (1..=hits.len().min(length)).filter(|place| hits[place - 1]) {
        found += 1;
        gain += discount(place);
        precisions += found as f64 / place as f64;
        if found == 1 {
            first = 1.0 / place as f64;
        }
    }
    let found = found as f64;
    [
        gain / ideal,
        found / wanted as f64,
        f64::from(u8::from(found > 0.0)),
        first,
        precisions / most as f64,
        found / length as f64,
    ]
}

/// The share of the items that are in any list, and the Gini index of how often each is: 0 where all are recommended alike, nearly
/// 1 where all lists are the same.
pub(super) fn of_all(told: &[u32]) -> [f64; 2] {
    let items = told.len() as f64;
    let mut sorted = told.to_vec();
    sorted.sort_unstable();
    let total: f64 = told.iter().map(|n| f64::from(*n)).sum();
    let ranked = sorted.iter().enumerate();
    let sum: f64 = ranked.map(|(i, n)| (2.0 * (i + 1) as f64 - items - 1.0) * f64::from(*n)).sum();
    let covered = told.iter().filter(|n| **n > 0).count() as f64;
    [covered / items, if total > 0.0 { sum / total / items } else { 0.0 }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_once() {
        let (a, b) = (metrics(&[10]), metrics(&[5, 10]));
        assert!(std::ptr::eq(a, metrics(&[10])));
        assert_eq!((a[1].name, a.len(), b.len()), ("ndcg@10", 1 + OF_LENGTH, 1 + 2 * OF_LENGTH));
    }
}
