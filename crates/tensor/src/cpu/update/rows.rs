//! Rows of parameters whose gradient holds anything.

use std::borrow::Cow;
use std::ops::Range;

use super::blocks::{Block, Blocks};
use super::{PIECE, Run, Runs};
use crate::cpu::parallel::{Shared, for_pieces};
use crate::real::Stored;

/// Elements that are looked at together, so that the look is a loop over registers.
const LOOK: usize = 64;

/// The rows of some parameters whose gradient is not all zero.
pub(super) struct Touched {
    /// What a walk must meet. State in blocks shares its scale, so a run then covers whole blocks.
    pub runs: Runs,
    /// Positions of the rows themselves among the parameters, in order, neighbours together.
    rows: Vec<Range<usize>>,
}

impl Touched {
    /// Of parameters whose rows have `widths`; runs cover whole multiples of `grain` from a parameter's
    /// start, or all of it.
    pub fn find<'a, T: Stored>(
        runs: &[Run],
        widths: &[usize],
        grain: Option<usize>,
        grads: impl Fn(Run) -> Cow<'a, [T]>,
    ) -> Self {
        let (mut met, mut all): (Vec<Run>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
        for (run, width) in runs.iter().zip(widths) {
            let mut end = 0;
            for rows in nonzero_rows(&grads(*run), *width) {
                let (from, to) = (rows.start * width, rows.end * width);
                all.push(run.param + from..run.param + to);
                let Some(grain) = grain else { continue };
                // From the parameter's start, where blocks begin; what the run before covers is met there.
                let from = (from - from % grain).max(end);
                end = to.next_multiple_of(grain).min(run.len);
                if from < end {
                    let (param, state) = (run.param + from, run.state + from);
                    met.push(Run { param, state, len: end - from });
                }
            }
        }
        let met = if grain.is_some() { met } else { runs.to_vec() };
        Self { runs: Runs::new(met), rows: all }
    }

    /// The rows within the blocks of a run.
    pub fn of<'a, T>(&'a self, run: Run, blocks: &'a mut dyn Blocks<T>) -> InRows<'a, T> {
        let first = self.rows.partition_point(|rows| rows.end <= run.param);
        InRows { rows: &self.rows[first..], blocks, block: None }
    }
}

/// The parts of blocks that are rows.
pub(super) struct InRows<'a, T> {
    /// From the first that the block reaches on.
    rows: &'a [Range<usize>],
    blocks: &'a mut dyn Blocks<T>,
    block: Option<Block<T>>,
}

impl<T: Copy> Blocks<T> for InRows<'_, T> {
    fn next(&mut self) -> Option<Block<T>> {
        loop {
            let block = match self.block {
                Some(block) => block,
                None => self.blocks.next()?,
            };
            self.block = Some(block);
            let end = block.at + block.len;
            match self.rows.first().filter(|rows| rows.start < end) {
                None => self.block = None,
                Some(rows) => {
                    let (from, to) = (rows.start.max(block.at), rows.end.min(end));
                    // A row that continues in the next block is met there again.
                    if rows.end <= end {
                        self.rows = &self.rows[1..];
                    } else {
                        self.block = None;
                    }
                    if from < to {
                        return Some(block.part(from - block.at, to - from));
                    }
                }
            }
        }
    }
}

/// The rows of `width` elements that are not all zero (a NaN is not), as ranges of neighbours.
///
/// # Panics
/// Where `grads` is not a whole number of rows.
fn nonzero_rows<T: Stored>(grads: &[T], width: usize) -> Vec<Range<usize>> {
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
