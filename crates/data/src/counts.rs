//! How often each three tokens follow one another.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use rayon::prelude::*;

use crate::Tokens;

/// Ids are packed three to a word, so they have this many bits at most.
pub(crate) const ID_BITS: u32 = 21;

/// Counts by packed ids.
pub(crate) type Counts = HashMap<u64, u32, BuildHasherDefault<PackedHasher>>;

/// A hash for packed ids: one multiplication, its halves folded.
#[derive(Debug, Default)]
pub(crate) struct PackedHasher(u64);

impl Hasher for PackedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let factor = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let product = u128::from(word ^ self.0).wrapping_mul(factor);
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The ids, the last one in the lowest bits.
pub(crate) fn pack(ids: &[u32]) -> u64 {
    ids.iter().fold(0, |packed, &id| packed << ID_BITS | u64::from(id))
}

/// The last `n` ids of packed ones.
pub(crate) fn last(packed: u64, n: u32) -> u64 {
    packed & ((1 << (n * ID_BITS)) - 1)
}

/// Each place of a range as three packed ids, the place's own last; before the first token stands
/// `before`.
pub(crate) fn trigrams(
    tokens: &Tokens,
    range: Range<usize>,
    before: u32,
) -> impl Iterator<Item = u64> + '_ {
    let at = move |place: Option<usize>| place.map_or(before, |place| tokens.get(place));
    let [a, b] = [2, 1].map(|back| at(range.start.checked_sub(back)));
    let mut context = pack(&[a, b]);
    tokens.range(range).map(move |id| {
        let all = context << ID_BITS | u64::from(id);
        context = last(all, 2);
        all
    })
}

/// Counts of three, two and one token, each place of the text counted once in every table.
#[derive(Debug, Default)]
pub(crate) struct NgramCounts {
    /// (a, b, c): how often c follows a, b.
    pub three: Counts,
    /// (a, b): how often anything follows them.
    pub context_of_two: Counts,
    /// (b, c): how often c follows b.
    pub two: Counts,
    /// b: how often anything follows it.
    pub context_of_one: Counts,
    /// c: how often it stands.
    pub one: Counts,
    /// How many places.
    pub places: u64,
}

impl NgramCounts {
    /// Counts a range of a stream; sums of integers, so threads change nothing.
    pub fn of(tokens: &Tokens, range: Range<usize>, before: u32) -> Self {
        let count = |part: Range<usize>| {
            let mut three = Counts::default();
            trigrams(tokens, part, before).for_each(|key| *three.entry(key).or_default() += 1);
            three
        };
        let part = range.len().div_ceil(rayon::current_num_threads()).max(1 << 16);
        let starts: Vec<_> = range.clone().step_by(part).collect();
        let parts = starts.into_par_iter().map(|at| count(at..range.end.min(at + part)));
        let mut all = Self::default();
        all.add(parts.reduce(Counts::default, merge));
        all
    }

    /// Adds counts of three, and with them those of two and one.
    pub fn add(&mut self, three: Counts) {
        let mut two = Counts::default();
        for (&key, &count) in &three {
            *self.context_of_two.entry(key >> ID_BITS).or_default() += count;
            *two.entry(last(key, 2)).or_default() += count;
        }
        for (&key, &count) in &two {
            *self.context_of_one.entry(key >> ID_BITS).or_default() += count;
            *self.one.entry(last(key, 1)).or_default() += count;
            self.places += u64::from(count);
        }
        self.two = merge(std::mem::take(&mut self.two), two);
        self.three = merge(std::mem::take(&mut self.three), three);
    }
}

fn merge(a: Counts, b: Counts) -> Counts {
    let (mut large, small) = if a.len() < b.len() { (b, a) } else { (a, b) };
    for (key, count) in small {
        *large.entry(key).or_default() += count;
    }
    large
}
