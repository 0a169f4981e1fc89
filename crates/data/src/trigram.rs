//! The baseline a language model has to beat: an interpolated trigram model.

use std::ops::Range;

use crate::Tokens;
use crate::counts::{ID_BITS, NgramCounts, last, pack, trigrams};

/// Contexts are weighted by how often they were seen: 0, 1, 2 to 3, 4 to 7 and so on.
const BUCKETS: usize = 33;

/// The share of the training stream, its end, that the weights are fitted on.
const HELD_OUT: f64 = 0.1;

/// Held-out places that the weights are fitted on at most: enough for four numbers a bucket.
const MAX_HELD_OUT: usize = 500_000;

/// Passes of expectation maximisation.
const PASSES: usize = 20;

/// The weights of three, two, one and no token of evidence.
type Weights = [f64; 4];

/// An interpolated trigram model over tokens:
///
/// `p(c | a, b) = w_3 n(abc) / n(ab) + w_2 n(bc) / n(b) + w_1 n(c) / n + w_0 / V`,
///
/// where `n(ab)` and `n(b)` count contexts. A part whose context was never seen is left out and its
/// weight given to the others in proportion. The weights depend on how often the context `ab` was
/// seen, in powers of two. They are fitted by expectation maximisation on the last tenth of the
/// training tokens, under counts of the rest; the final counts are of all training tokens. Before
/// the first token the end of a document stands twice.
///
/// Source: Jelinek and Mercer, "Interpolated estimation of Markov source parameters from sparse
/// data", 1980; as described by Chen and Goodman, "An empirical study of smoothing techniques for
/// language modeling", 1998, section 2.4.
///
/// ```
/// use rappel_data::{Tokens, Trigram};
/// let text = Tokens::U16("the cat, the rat, the bat; ".repeat(50).bytes().map(u16::from).collect());
/// let model = Trigram::fit(&text, 257, 256);
/// let [t, h, e, q] = [b't', b'h', b'e', b'q'].map(u32::from);
/// assert!(model.probability(t, h, e) > 0.9);
/// assert!(model.probability(t, h, q) > 0.0);
/// ```
#[derive(Debug)]
pub struct Trigram {
    vocab_size: usize,
    before: u32,
    counts: NgramCounts,
    weights: [Weights; BUCKETS],
}

impl Trigram {
    /// Fits the model to a training stream of ids below `vocab_size`, where `end_of_document` is
    /// the id that closes documents.
    ///
    /// # Panics
    /// If the vocabulary has more than 2^21 ids, more than any tokenizer's.
    #[track_caller]
    pub fn fit(train: &Tokens, vocab_size: usize, end_of_document: u32) -> Self {
        assert!(vocab_size <= 1 << ID_BITS, "a vocabulary of {vocab_size} ids; at most 2^21");
        let kept = train.len() - (train.len() as f64 * HELD_OUT).ceil() as usize;
        let mut model = Self {
            vocab_size,
            before: end_of_document,
            counts: NgramCounts::of(train, 0..kept, end_of_document),
            weights: [[0.25; 4]; BUCKETS],
        };
        model.fit_weights(train, kept..train.len().min(kept + MAX_HELD_OUT));
        model.counts.add(NgramCounts::of(train, kept..train.len(), end_of_document).three);
        model
    }

    /// The chance that `c` follows `a`, `b`; over all `c` below the vocabulary's size they sum to 1.
    pub fn probability(&self, a: u32, b: u32, c: u32) -> f64 {
        self.chance(pack(&[a, b, c]))
    }

    /// The sum of `-ln p` over the places of a range, each predicted from the two tokens before it.
    ///
    /// # Panics
    /// If the range ends beyond the last token.
    #[track_caller]
    pub fn nats(&self, tokens: &Tokens, range: Range<usize>) -> f64 {
        trigrams(tokens, range, self.before).map(|key| -self.chance(key).ln()).sum()
    }

    fn chance(&self, key: u64) -> f64 {
        let (bucket, parts) = self.parts(key);
        interpolate(&self.weights[bucket], &parts)
    }

    /// The bucket of the context, and the estimates from three, two, one and no token; none where
    /// the context was never seen.
    fn parts(&self, key: u64) -> (usize, [Option<f64>; 4]) {
        let counts = &self.counts;
        let of = |table: &crate::counts::Counts, key| table.get(&key).copied().unwrap_or(0);
        let seen = of(&counts.context_of_two, key >> ID_BITS);
        let seen_one = of(&counts.context_of_one, last(key, 2) >> ID_BITS);
        let share = |count: u32, all: u64| (all > 0).then(|| f64::from(count) / all as f64);
        // Where three tokens were seen so were their last two: unseen needs no further look.
        let parts = [
            share(if seen == 0 { 0 } else { of(&counts.three, key) }, u64::from(seen)),
            share(of(&counts.two, last(key, 2)), u64::from(seen_one)),
            share(of(&counts.one, last(key, 1)), counts.places),
            Some(1.0 / self.vocab_size as f64),
        ];
        ((u32::BITS - seen.leading_zeros()) as usize, parts)
    }

    fn fit_weights(&mut self, train: &Tokens, held_out: Range<usize>) {
        let parts: Vec<_> =
            trigrams(train, held_out, self.before).map(|key| self.parts(key)).collect();
        for _ in 0..PASSES {
            // One place's worth of even evidence keeps every weight above 0.
            let mut sums = [[0.25; 4]; BUCKETS];
            for (bucket, parts) in &parts {
                let weights = &self.weights[*bucket];
                let joint = |i: usize| weights[i] * parts[i].unwrap_or(0.0);
                let all: f64 = (0..4).map(joint).sum();
                for (i, sum) in sums[*bucket].iter_mut().enumerate() {
                    *sum += joint(i) / all;
                }
            }
            self.weights = sums.map(|sum| sum.map(|part| part / sum.iter().sum::<f64>()));
        }
    }
}

fn interpolate(weights: &Weights, parts: &[Option<f64>; 4]) -> f64 {
    let known = || weights.iter().zip(parts).filter_map(|(w, part)| Some((w, (*part)?)));
    let weight: f64 = known().map(|(w, _)| w).sum();
    known().map(|(w, part)| w * part).sum::<f64>() / weight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: &[u16]) -> Tokens {
        Tokens::U16(ids.to_vec())
    }

    /// Counts of `0 1 0 1 2` after `3 3`, vocabulary 4, with weights chosen by hand.
    fn tiny(weights: Weights) -> Trigram {
        let counts = NgramCounts::of(&tokens(&[0, 1, 0, 1, 2]), 0..5, 3);
        Trigram { vocab_size: 4, before: 3, counts, weights: [weights; BUCKETS] }
    }

    #[test]
    fn a_case_by_hand() {
        // Trigrams 330 301 010 101 012; after (0 1): 0 once, 2 once; after 1: 0 once, 2 once;
        // places: 0 twice, 1 twice, 2 once.
        let model = tiny([0.5, 0.25, 0.125, 0.125]);
        let expected = 0.5 * 0.5 + 0.25 * 0.5 + 0.125 * 0.4 + 0.125 * 0.25;
        assert!((model.probability(0, 1, 0) - expected).abs() < 1e-15);
        // (2 0) was never a context; after 0: 1 twice. The last three weights take the first's.
        let expected = (0.25 * 1.0 + 0.125 * 0.4 + 0.125 * 0.25) / 0.5;
        assert!((model.probability(2, 0, 1) - expected).abs() < 1e-15);
        // 2 was never followed by anything.
        let expected = (0.125 * 0.2 + 0.125 * 0.25) / 0.25;
        assert!((model.probability(1, 2, 2) - expected).abs() < 1e-15);
        // The first place of a stream has 3 3 before it, the second 3 0.
        let expected = -(model.probability(3, 3, 0).ln() + model.probability(3, 0, 1).ln());
        assert!((model.nats(&tokens(&[0, 1]), 0..2) - expected).abs() < 1e-15);
    }

    #[test]
    fn chances_sum_to_one_in_every_context() {
        let ids: Vec<u16> = (0..4000_u32).map(|i| (i * i % 97 % 11) as u16).collect();
        let model = Trigram::fit(&tokens(&ids), 13, 12);
        assert_eq!(model.counts.places, 4000, "the held-out tokens count too");
        for context in 0..169 {
            let sum: f64 = (0..13).map(|c| model.probability(context / 13, context % 13, c)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{context}: {sum}");
        }
    }

    #[test]
    fn the_weights_are_the_likeliest_on_the_held_out_end() {
        // Two thirds of the tokens follow their predecessor, so every order has evidence.
        let mut state = 1_u64;
        let mut ids = vec![0_u16, 1];
        for i in 0..30_000 {
            state = crate::mix::hash_words(state, &[i]);
            let next = if state.is_multiple_of(3) {
                state >> 32
            } else {
                u64::from(ids[i as usize]) * 5 + 3
            };
            ids.push((next % 17) as u16);
        }
        let train = tokens(&ids);
        let kept = train.len() * 9 / 10;
        let counts = NgramCounts::of(&train, 0..kept, 17);
        let mut model =
            Trigram { vocab_size: 18, before: 17, counts, weights: [[0.25; 4]; BUCKETS] };
        let even = model.nats(&train, kept..train.len());
        model.fit_weights(&train, kept..train.len());
        let fitted = model.nats(&train, kept..train.len());
        assert!(fitted < even);
        for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
            let saved = model.weights;
            for weights in &mut model.weights {
                let moved = weights[from] * 0.2;
                weights[from] -= moved;
                weights[to] += moved;
            }
            assert!(model.nats(&train, kept..train.len()) > fitted - 1.0, "{from} to {to}");
            model.weights = saved;
        }
    }
}
