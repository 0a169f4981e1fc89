//! Spreading work over threads.

use std::ops::Range;

use rayon::prelude::*;

/// Calls `work` on pieces of `0..n` of length `piece` (the last may be shorter), on all threads.
///
/// Pieces do not depend on the number of threads. One piece runs on the calling thread at once.
pub(crate) fn for_pieces(n: usize, piece: usize, work: impl Fn(Range<usize>) + Sync + Send) {
    let pieces = n.div_ceil(piece.max(1));
    let run = |i: usize| work(i * piece..n.min((i + 1) * piece));
    if pieces <= 1 {
        if n > 0 {
            run(0);
        }
    } else {
        (0..pieces).into_par_iter().for_each(run);
    }
}

/// [`for_pieces`] with a result for each piece, added up in their order.
pub(crate) fn sum_pieces(
    n: usize,
    piece: usize,
    work: impl Fn(Range<usize>) -> f64 + Sync + Send,
) -> f64 {
    let pieces = n.div_ceil(piece);
    let run = |i: usize| work(i * piece..n.min((i + 1) * piece));
    if pieces <= 1 {
        return if n > 0 { run(0) } else { 0.0 };
    }
    let mut parts = vec![0.0; pieces];
    parts.par_iter_mut().enumerate().for_each(|(i, part)| *part = run(i));
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
