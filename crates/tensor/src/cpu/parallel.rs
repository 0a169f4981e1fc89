//! Spreading work over threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::profile::shared_by_threads;

/// Work on a piece of a range.
type Work<'a> = &'a (dyn Fn(Range<usize>) + Sync);

/// Calls `work` on pieces of `0..n` of length `piece` (the last may be shorter), on all threads.
///
/// Pieces do not depend on the number of threads. One piece runs on the calling thread at once.
pub(crate) fn for_pieces(n: usize, piece: usize, work: impl Fn(Range<usize>) + Sync + Send) {
    if n <= piece {
        if n > 0 {
            work(0..n);
        }
    } else {
        spread(n, piece, &work);
    }
}

/// Compiled once for all kinds of work: what rayon does for each is a good part of this crate.
fn spread(n: usize, piece: usize, work: Work<'_>) {
    let run = |i: usize| work(i * piece..n.min((i + 1) * piece));
    shared_by_threads(|| (0..n.div_ceil(piece)).into_par_iter().for_each(run));
}

/// [`for_pieces`] with a result for each piece, added up in their order.
pub(crate) fn sum_pieces(
    n: usize,
    piece: usize,
    work: impl Fn(Range<usize>) -> f64 + Sync + Send,
) -> f64 {
    if n <= piece {
        return if n > 0 { work(0..n) } else { 0.0 };
    }
    let mut parts = vec![0.0; n.div_ceil(piece)];
    let shared = Shared::new(&mut parts);
    spread(n, piece, &|range| {
        let part = range.start / piece;
        // SAFETY: each piece writes its own part.
        unsafe { *shared.at(part) = work(range) };
    });
    parts.into_iter().sum()
}

/// A pointer that tasks share; each promises to write only its own piece.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);

// SAFETY: the pointer is only dereferenced by code that upholds the promise above.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    pub fn from_ptr(ptr: *mut T) -> Self {
        Self(ptr)
    }

    /// The address of element `i`.
    ///
    /// # Safety
    /// `i` lies within the slice this was made from.
    #[inline(always)]
    pub unsafe fn at(&self, i: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(i) }
    }

    /// Elements of `range`.
    ///
    /// # Safety
    /// The range lies within the slice, nobody else touches it, and the slice outlives the use.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}
