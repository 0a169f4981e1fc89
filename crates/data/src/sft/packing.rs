//! Rows that share samples.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::section::PackingStrategy;

/// Tokens of a row, from where to where in all.
pub(super) type Segment = Range<usize>;

/// The segments of each sample, of rows that lie one after another.
pub(super) fn pack(rows: &[Segment], most: usize, strategy: PackingStrategy) -> Vec<Vec<Segment>> {
    match strategy {
        PackingStrategy::Bfd => best_fit(rows.to_vec(), most),
        PackingStrategy::BfdSplit => {
            best_fit(rows.iter().flat_map(|row| pieces(row, most)).collect(), most)
        }
        PackingStrategy::Wrapped => wrapped(rows, most),
    }
}

/// A row in pieces of at most `most` tokens. The last piece is of two at least: one alone predicts nothing.
fn pieces(row: &Segment, most: usize) -> impl Iterator<Item = Segment> {
    let (row, starts) = (row.clone(), row.clone().step_by(most));
    starts.map(move |start| start..(start + most).min(row.end)).filter(|piece| piece.len() > 1)
}

/// Each row, the longest first, goes where it leaves least room; a new sample is made where it fits nowhere
/// (Ding et al., Fewer truncations improve language modeling, <https://arxiv.org/abs/2404.10830>).
fn best_fit(mut rows: Vec<Segment>, most: usize) -> Vec<Vec<Segment>> {
    rows.sort_by_key(|row| std::cmp::Reverse(row.len()));
    let mut samples: Vec<Vec<Segment>> = Vec::new();
    // The samples that have so much room left, the first that came to it first.
    let mut room: BTreeMap<usize, VecDeque<usize>> = BTreeMap::new();
    for row in rows {
        let len = row.len();
        let found = room.range_mut(len..).next().map(|(left, with)| {
            (*left, with.pop_front().expect("an entry has a sample"), with.is_empty())
        });
        let (left, sample) = if let Some((left, sample, was_last)) = found {
            if was_last {
                room.remove(&left);
            }
            (left, sample)
        } else {
            samples.push(Vec::new());
            (most, samples.len() - 1)
        };
        samples[sample].push(row);
        if left > len {
            room.entry(left - len).or_default().push_back(sample);
        }
    }
    samples
}

/// All rows as one, cut every `most` tokens.
fn wrapped(rows: &[Segment], most: usize) -> Vec<Vec<Segment>> {
    let (mut samples, mut sample, mut used): (Vec<_>, Vec<Segment>, _) =
        (Vec::new(), Vec::new(), 0);
    for row in rows {
        let mut start = row.start;
        while start < row.end {
            let end = row.end.min(start + most - used);
            if end - start > 1 {
                sample.push(start..end);
            }
            used += end - start;
            start = end;
            if used == most {
                samples.push(std::mem::take(&mut sample));
                used = 0;
            }
        }
    }
    samples.push(sample);
    samples.retain(|sample| !sample.is_empty());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of these lengths, one after another.
    fn rows(lengths: &[usize]) -> Vec<Segment> {
        let mut start = 0;
        let row = |len: &usize| {
            start += len;
            start - len..start
        };
        lengths.iter().map(row).collect()
    }

    fn lengths(samples: &[Vec<Segment>]) -> Vec<Vec<usize>> {
        samples.iter().map(|sample| sample.iter().map(Range::len).collect()).collect()
    }

    #[test]
    fn rows_go_where_they_fill_best() {
        let packed = pack(&rows(&[3, 6, 2, 4, 5, 2, 8]), 10, PackingStrategy::Bfd);
        assert_eq!(lengths(&packed), [vec![8, 2], vec![6, 4], vec![5, 3, 2]]);
        assert_eq!(packed[2], [15..20, 0..3, 20..22]);
    }

    #[test]
    fn long_rows_are_split_or_wrapped_and_no_token_is_lost() {
        let split = pack(&rows(&[7, 3, 2]), 4, PackingStrategy::BfdSplit);
        assert_eq!(lengths(&split), [vec![4], vec![3], vec![3], vec![2]]);
        let wrapped = pack(&rows(&[7, 3, 2]), 4, PackingStrategy::Wrapped);
        assert_eq!(wrapped.concat(), [0..4, 4..7, 8..10, 10..12]);
        assert_eq!(lengths(&wrapped), [vec![4], vec![3], vec![2, 2]]);
    }

    #[test]
    fn samples_are_those_of_trl() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/sft/golden.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let golden = &golden["packing"];
        let numbers = |value: &serde_json::Value| -> Vec<usize> {
            serde_json::from_value(value.clone()).unwrap()
        };
        let rows = rows(&numbers(&golden["lengths"]));
        let most = golden["most"].as_u64().unwrap() as usize;
        // TRL cuts rows as it packs them; here they come cut.
        let cut: Vec<_> = rows.iter().map(|row| row.start..row.end.min(row.start + most)).collect();
        let bfd: Vec<Vec<usize>> = serde_json::from_value(golden["bfd"].clone()).unwrap();
        assert_eq!(lengths(&pack(&cut, most, PackingStrategy::Bfd)), bfd);
        // A token that is cut off alone predicts nothing.
        let mut split: Vec<Vec<usize>> =
            serde_json::from_value(golden["bfd_split"].clone()).unwrap();
        for sample in &mut split {
            sample.retain(|len| *len > 1);
        }
        assert_eq!(lengths(&pack(&rows, most, PackingStrategy::BfdSplit)), split);
        let wrapped = lengths(&pack(&rows, most, PackingStrategy::Wrapped));
        assert_eq!(wrapped.len(), numbers(&golden["wrapped"]).len());
    }

    #[test]
    fn every_row_is_in_one_sample_that_holds_it() {
        let rows = rows(&(0..500).map(|i| 2 + i * i % 61).collect::<Vec<_>>());
        let packed = pack(&rows, 64, PackingStrategy::Bfd);
        assert!(packed.iter().all(|sample| sample.iter().map(Range::len).sum::<usize>() <= 64));
        let mut all: Vec<_> = packed.concat();
        all.sort_by_key(|row| row.start);
        assert_eq!(all, rows);
        let filled = rows.iter().map(Range::len).sum::<usize>() as f64 / (64 * packed.len()) as f64;
        assert!(filled > 0.97, "{filled}");
    }
}
