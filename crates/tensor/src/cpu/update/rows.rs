//! Rows of a gradient that hold anything.

use std::ops::Range;

use super::PIECE;
use crate::cpu::parallel::{Shared, for_pieces};
use crate::real::Stored;

/// Elements that are looked at together, so that the look is a loop over registers.
const LOOK: usize = 64;

/// The rows of `width` elements that are not all zero (a NaN is not), as ranges of neighbours.
///
/// ```
/// let rows = rappel_tensor::nonzero_rows(&[0.0_f32, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, -0.0], 2);
/// assert_eq!(rows, [1..3]);
/// ```
///
/// # Panics
/// Where `grads` is not a whole number of rows.
pub fn nonzero_rows<T: Stored>(grads: &[T], width: usize) -> Vec<Range<usize>> {
    if grads.is_empty() {
        return Vec::new();
    }
    assert!(grads.len().is_multiple_of(width), "{} elements in rows of {width}", grads.len());
    let mut holds = vec![false; grads.len() / width];
    let count = holds.len();
    let shared = Shared::new(&mut holds);
    for_pieces(count, (PIECE / width).max(1), |piece| {
        for row in piece {
            let holds = grads[row * width..(row + 1) * width].chunks(LOOK).any(any_nonzero);
            // SAFETY: each row has its own place, and belongs to one piece.
            unsafe { *shared.at(row) = holds };
        }
    });
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for row in (0..count).filter(|row| holds[*row]) {
        match ranges.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}

fn any_nonzero<T: Stored>(values: &[T]) -> bool {
    let zero = T::from_f64(0.0);
    // Counted to the end: a loop that may leave early would look at one at a time.
    values.iter().filter(|value| **value != zero).count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_wherever_the_threads_meet() {
        let (rows, width) = (3 * PIECE / 100 + 7, 100);
        let mut grads = vec![0.0_f64; rows * width];
        let marked = [0, 1, 2, PIECE / 100 - 1, PIECE / 100, PIECE / 100 + 1, rows - 1];
        for (k, row) in marked.iter().enumerate() {
            grads[row * width + [0, 63, 64, 99][k % 4]] = if k == 2 { f64::NAN } else { -1e-300 };
        }
        let at = PIECE / 100;
        assert_eq!(nonzero_rows(&grads, width), [0..3, at - 1..at + 2, rows - 1..rows]);
    }

    #[test]
    fn nothing_has_no_rows() {
        assert!(nonzero_rows::<f32>(&[], 0).is_empty());
        assert!(nonzero_rows(&[0.0_f32, -0.0], 1).is_empty());
    }
}
