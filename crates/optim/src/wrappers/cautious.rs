//! Updates without the parts that go up the gradient.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rappel_tensor::{
    Key, Memory, Real, Reduce, Runs, STATE_BLOCK, Update, Wrap, apply, reduce, update,
};

use super::around::{Around, Wrapped};

/// The least share of an update that a cautious mask is scaled up by.
const LEAST_MEAN: f64 = 1e-3;

/// Some numbers that one task writes and another reads later.
type Cell<T> = Mutex<[T; STATE_BLOCK]>;

/// Keeps what the rule makes of parameters aside, and counts how much of it goes down the gradient: only
/// then is it known what the rest is scaled by.
pub(super) struct Cautious<'a, T> {
    around: &'a Around<'a>,
    /// What the rule's own decay leaves of a parameter.
    keep: f64,
    /// Of each tensor.
    counts: Vec<AtomicU64>,
    /// The first cell of each tensor.
    starts: Vec<usize>,
    cells: Vec<Cell<T>>,
}

impl<'a, T: Wrapped> Cautious<'a, T> {
    pub fn new(around: &'a Around<'a>, keep: f64) -> Self {
        let mut end = 0;
        let start = |tensor: usize| {
            let start = end;
            end += around.run(tensor).len.div_ceil(STATE_BLOCK);
            start
        };
        let starts: Vec<usize> = (0..around.len()).map(start).collect();
        let cell = |_| Mutex::new([T::from_f64(0.0); STATE_BLOCK]);
        Self {
            around,
            keep,
            counts: (0..around.len()).map(|_| AtomicU64::new(0)).collect(),
            starts,
            cells: (0..end).map(cell).collect(),
        }
    }

    /// The second part: masks, scales and keeps.
    pub fn masked(self) -> Masked<'a, T> {
        let scale = |(tensor, count): (usize, &AtomicU64)| {
            let len = self.around.run(tensor).len.max(1) as f64;
            (count.load(Ordering::Relaxed) as f64 / len).max(LEAST_MEAN).recip()
        };
        let scales = self.counts.iter().enumerate().map(scale).collect();
        Masked { cautious: self, scales }
    }

    /// Calls `work` with each cell of a stretch, and its range within the stretch.
    fn each_cell(
        &self,
        at: usize,
        len: usize,
        mut work: impl FnMut(std::ops::Range<usize>, &mut [T]),
    ) {
        let (tensor, start) = self.around.tensor(at);
        let mut done = 0;
        while done < len {
            let (cell, from) = ((start + done) / STATE_BLOCK, (start + done) % STATE_BLOCK);
            let end = len.min(done + STATE_BLOCK - from);
            let cell = &self.cells[self.starts[tensor] + cell];
            let mut cell = cell.lock().unwrap_or_else(PoisonError::into_inner);
            work(done..end, &mut cell[from..from + end - done]);
            done = end;
        }
    }
}

impl<T: Wrapped> Wrap<T> for Cautious<'_, T> {
    fn before(&self, at: usize, params: &mut [T], grads: &mut [T]) {
        self.around.see(at, params, grads);
    }

    fn after(&self, at: usize, params: &mut [T], grads: &[T], new: &mut [T]) {
        let kept = Kept { keep: self.keep, left: self.around.left() };
        let [count] = reduce(&kept, params, grads, [&mut *new]);
        self.counts[self.around.tensor(at).0].fetch_add(count as u64, Ordering::Relaxed);
        self.each_cell(at, new.len(), |range, cell| cell.copy_from_slice(&new[range]));
    }
}

/// See [`Cautious::masked`].
pub(super) struct Masked<'a, T> {
    cautious: Cautious<'a, T>,
    /// What the update of each tensor is multiplied by.
    scales: Vec<f64>,
}

/// Walks parameters that only wrappers change.
pub(super) fn finish(runs: &Runs, mut memory: Memory<'_>, rounding: Option<Key>) {
    update(runs, &mut memory, rounding, &Nothing);
}

impl<T: Wrapped> Wrap<T> for Masked<'_, T> {
    fn before(&self, at: usize, params: &mut [T], grads: &mut [T]) {
        self.cautious.around.see(at, params, grads);
    }

    fn after(&self, at: usize, params: &mut [T], grads: &[T], new: &mut [T]) {
        let Cautious { around, keep, .. } = &self.cautious;
        self.cautious.each_cell(at, new.len(), |range, cell| new[range].copy_from_slice(cell));
        let scale = self.scales[around.tensor(at).0];
        apply(&Mask { keep: *keep, left: around.left(), scale }, params, grads, [&mut *new]);
        around.become_of(params, grads, new);
    }
}

/// Whether an element's update goes down its gradient.
#[inline(always)]
fn goes_down<R: Real>(still: R, new: R, grad: R) -> R::Mask {
    R::of(0.0).lt((still - new) * grad)
}

/// How many updates go down their gradient.
struct Kept {
    keep: f64,
    left: f64,
}

impl Reduce<1, 1> for Kept {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> ([R; 1], [R; 1]) {
        let [keep, left] = [self.keep, self.left].map(R::of);
        #[inline(always)]
        move |old, grad, [new]| {
            let kept = goes_down(keep * (old * left), new, grad);
            ([new], [R::select(kept, R::of(1.0), R::of(0.0))])
        }
    }
}

/// What the step comes to.
struct Mask {
    keep: f64,
    left: f64,
    scale: f64,
}

impl Update<1> for Mask {
    const WRITES_PARAMS: bool = false;

    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let [keep, left, scale] = [self.keep, self.left, self.scale].map(R::of);
        #[inline(always)]
        move |old, grad, [new]| {
            let still = keep * (old * left);
            let kept = goes_down(still, new, grad);
            (old, [R::select(kept, still - (still - new) * scale, still)])
        }
    }
}

/// Leaves everything as it is.
struct Nothing;

impl Update<0> for Nothing {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 0]) -> (R, [R; 0]) {
        #[inline(always)]
        |p, _, []| (p, [])
    }
}
