//! Rows of several files in turn, as often as each is to come.

use rappel_config::Words;
use rappel_tensor::Key;

/// When rows that are drawn from several files end, under the names of Hugging Face's `interleave_datasets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum StoppingStrategy {
    /// As soon as one of them has no further row: no row comes twice.
    FirstExhausted,
    /// When each has had all of its rows: others begin again until then.
    AllExhausted,
}

/// Keeps what chooses files apart from other random numbers of a seed.
const INTERLEAVE: &str = "interleave";

/// Which rows come in which order, as pairs of a source and a row of it: each is of a source drawn by its share, whose rows come in
/// their order. `rows` is how many each has, at least one.
pub(super) fn interleave(
    rows: &[usize],
    shares: &[f64],
    stopping: StoppingStrategy,
    seed: u64,
) -> Vec<(usize, usize)> {
    let key = Key::new(seed).with_name(INTERLEAVE);
    let total: f64 = shares.iter().sum();
    let mut taken = vec![0; rows.len()];
    let mut order = Vec::new();
    loop {
        let drawn = f64::from(key.with(order.len() as u64).bits(0)) / (f64::from(u32::MAX) + 1.0);
        let mut left = drawn * total;
        let of = shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        // What rounding leaves is the last one's that can come at all.
        let last = || shares.iter().rposition(|share| *share > 0.0).unwrap_or(0);
        let source = of.unwrap_or_else(last);
        order.push((source, taken[source] % rows[source]));
        taken[source] += 1;
        let is_done = |source: usize| taken[source] >= rows[source];
        let ends = match stopping {
            StoppingStrategy::FirstExhausted => is_done(source),
            StoppingStrategy::AllExhausted => (0..rows.len()).all(is_done),
        };
        if ends {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_come_as_often_as_their_shares_until_one_ends() {
        let rows = [3000, 3000];
        let order = interleave(&rows, &[0.25, 0.75], StoppingStrategy::FirstExhausted, 5);
        let of = |source| order.iter().filter(move |(of, _)| *of == source).map(|(_, row)| *row);
        assert_eq!(of(1).collect::<Vec<_>>(), (0..3000).collect::<Vec<_>>());
        // A binomial of 4,000 at 0.25: three standard deviations are 82.
        assert!((of(0).count() as f64 - 1000.0).abs() < 95.0, "{}", of(0).count());
        assert!(of(0).eq(0..of(0).count()));
        assert_eq!(order, interleave(&rows, &[1.0, 3.0], StoppingStrategy::FirstExhausted, 5));
        assert_ne!(order, interleave(&rows, &[1.0, 3.0], StoppingStrategy::FirstExhausted, 6));
    }

    #[test]
    fn the_shorter_source_begins_again_until_all_had_their_rows() {
        let order = interleave(&[2, 20], &[0.5, 0.5], StoppingStrategy::AllExhausted, 1);
        let of = |source| order.iter().filter(move |(of, _)| *of == source).map(|(_, row)| *row);
        assert!(of(1).eq(0..20) && of(0).count() > 2);
        assert!(of(0).enumerate().all(|(i, row)| row == i % 2));
    }
}
