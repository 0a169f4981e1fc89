//! Which keys a query sees, and which probabilities are dropped.

use std::ops::Range;

use rand_chacha::rand_core::Rng;

use super::Problem;
use super::rows::Block;
use crate::real::{Kernel, Lanes, MAX_LANES, Simd, Stored, dispatch};

impl Problem {
    /// How many keys, from the first on, query `t` may see by its place: the last query stands
    /// beside the last key.
    pub(super) fn visible(&self, t: usize) -> usize {
        let beyond = self.beyond().map(|beyond| (t + beyond + self.keys).saturating_sub(self.time));
        beyond.unwrap_or(self.keys).min(self.keys)
    }

    /// The first key that query `t` may see by its place.
    pub(super) fn lowest(&self, t: usize) -> usize {
        self.window.map_or(0, |window| (t + 1 + self.keys).saturating_sub(self.time + window))
    }

    /// The first key that any of the queries from `t` on may see by their places and documents.
    pub(super) fn first(&self, b: usize, t: usize) -> usize {
        let start = self.starts.as_ref().map_or(0, |starts| starts[b * self.time + t] as usize);
        start.max(self.lowest(t))
    }

    /// Whether queries may skip keys before the first that they see.
    pub(super) fn skips(&self) -> bool {
        self.window.is_some() || self.starts.is_some()
    }

    /// How many places from its own on a query sees.
    fn beyond(&self) -> Option<usize> {
        if self.causal { Some(1) } else { self.window }
    }

    /// What [`visible`](Self::visible) says of row `r` of a block, counted from key `first`, is
    /// `r` more than this.
    pub(super) fn visible_from(&self, t: usize, first: usize) -> isize {
        match self.beyond() {
            Some(beyond) => (t + beyond + self.keys) as isize - (self.time + first) as isize,
            None => isize::MAX / 2,
        }
    }

    /// Puts minus infinity where the window, padding or another document hides a key from a query.
    ///
    /// # Safety
    /// The block holds scores of `queries` against `keys`.
    pub(super) unsafe fn hide<A: Stored>(
        &self,
        block: &Block<A>,
        b: usize,
        queries: Range<usize>,
        keys: Range<usize>,
    ) {
        if self.window.is_none() && self.key_padding.is_none() && self.documents.is_none() {
            return;
        }
        let hidden = A::from_f64(f64::NEG_INFINITY);
        for (r, t) in queries.enumerate() {
            // SAFETY: the caller's promise.
            let row = unsafe { std::slice::from_raw_parts_mut(block.row(r), keys.len()) };
            let below = self.lowest(t).clamp(keys.start, keys.end) - keys.start;
            row[..below].fill(hidden);
            if let Some(padding) = &self.key_padding {
                let real = &padding.slice::<u8>()[b * self.keys..][keys.clone()];
                for (score, &real) in row.iter_mut().zip(real) {
                    *score = if real == 0 { hidden } else { *score };
                }
            }
            if let Some(documents) = &self.documents {
                let documents = &documents.slice::<i64>()[b * self.time..][..self.time];
                let own = documents[t];
                for (score, &other) in row.iter_mut().zip(&documents[keys.clone()]) {
                    *score = if other == own { *score } else { hidden };
                }
            }
        }
    }

    /// Writes a seed for each query of a head, from which [`drop_some`](Self::drop_some) draws.
    pub(super) fn seed(&self, b: usize, h: usize, t: usize, seeds: &mut [u64]) {
        if let Some((_, key)) = self.dropout {
            let mut rng = key.at(2 * ((b * self.heads + h) * self.time + t) as u64);
            seeds.fill_with(|| rng.next_u64());
        }
    }

    /// Drops values of a block with the probability of dropout and scales up the others; what is
    /// dropped follows from the row's seed and the key's place alone.
    ///
    /// # Safety
    /// The block has a row for each seed and its keys begin at `first`.
    pub(super) unsafe fn drop_some<A: Stored>(
        &self,
        block: &Block<A>,
        seeds: &[u64],
        first: usize,
    ) {
        if let Some((p, _)) = self.dropout {
            let below = (p * 2.0_f64.powi(32)) as u32;
            let scale = A::from_f64(1.0 / (1.0 - p));
            dispatch(Drop { block, seeds, first: first as u32, below, scale });
        }
    }
}

struct Drop<'a, A> {
    block: &'a Block<A>,
    seeds: &'a [u64],
    first: u32,
    below: u32,
    scale: A,
}

impl<A: Stored> Kernel for Drop<'_, A> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = A::Wide::<S>::LANES;
        let mut factors = [A::from_f64(0.0); MAX_LANES];
        for (r, &seed) in self.seeds.iter().enumerate() {
            let row = self.block.row(r);
            for i in (0..self.block.width).step_by(lanes) {
                for (j, factor) in factors[..lanes].iter_mut().enumerate() {
                    let kept = bits(seed, self.first + (i + j) as u32) >= self.below;
                    *factor = if kept { self.scale } else { A::from_f64(0.0) };
                }
                // SAFETY: the block has a row for each seed, with room for whole registers.
                unsafe {
                    let x = A::load::<S>(row.add(i)) * A::load::<S>(factors.as_ptr());
                    A::store::<S>(x, row.add(i));
                }
            }
        }
    }
}

/// Thirty-two random bits at a place of a seed's stream: two rounds of multiplying and folding, as
/// in the finaliser of MurmurHash3, with half of the seed before each.
#[inline(always)]
pub(super) fn bits(seed: u64, place: u32) -> u32 {
    let round = |x: u32| {
        let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    };
    round(round(place ^ seed as u32).wrapping_add((seed >> 32) as u32))
}
