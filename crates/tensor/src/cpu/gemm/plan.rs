//! How a product is cut for workers. The cut decides who computes what, never a result's bits.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::profile::shared_by_threads;

/// More workers than this share one product no better.
pub(super) const MAX_WORKERS: usize = 64;
/// Floating-point operations that are worth waking a thread for.
const FLOPS_PER_WORKER: usize = 2_000_000;
/// Jobs that a worker's region is cut into, where they stay large enough.
const TURNS: usize = 4;

/// Workers for a product of this size, when `threads` are there.
pub(super) fn workers(m: usize, n: usize, k: usize, threads: usize) -> usize {
    let flops = 2 * m * n * k;
    (flops / FLOPS_PER_WORKER).clamp(1, threads.min(MAX_WORKERS))
}

/// C cut into one region per worker, each region into jobs; idle workers help the others.
#[derive(Debug)]
pub(super) struct Plan {
    size: (usize, usize),
    grid: (usize, usize),
    region: (usize, usize),
    job: (usize, usize),
    taken: [AtomicUsize; MAX_WORKERS],
}

/// A part of C for one worker to compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
}

impl Plan {
    /// Cuts `m` x `n` in multiples of a tile, `mr` x `nr`, with jobs of at most `most.1` columns
    /// and `most.0` rows, and, where a region has them, at least `least` rows.
    pub(super) fn new(
        (m, n): (usize, usize),
        (mr, nr): (usize, usize),
        most: (usize, usize),
        least: usize,
        workers: usize,
    ) -> Self {
        let cut = |size: usize, parts: usize, unit: usize| {
            size.div_ceil(unit).div_ceil(parts).max(1) * unit
        };
        let grid = (1..=workers)
            .filter(|gn| workers.is_multiple_of(*gn))
            .map(|gn| (workers / gn, gn))
            .min_by_key(|&(gm, gn)| {
                let (rows, cols) = (cut(m, gm, mr), cut(n, gn, nr));
                // A worker's products, and what packing its operands costs in their measure.
                rows * cols + PACK_B * cols + PACK_A * rows
            })
            .unwrap_or((1, 1));
        let region = (cut(m, grid.0, mr), cut(n, grid.1, nr));
        let columns = cut(region.1, region.1.div_ceil(most.1), nr);
        let turns = if workers == 1 { 1 } else { (region.0 / least).clamp(1, TURNS) };
        let turns = turns.max(region.0.div_ceil(most.0));
        let job = (cut(region.0, turns, mr), columns);
        Self {
            size: (m, n),
            grid,
            region,
            job,
            taken: [const { AtomicUsize::new(0) }; MAX_WORKERS],
        }
    }

    /// The next job for this worker: of its own region while there are any, column by column so that
    /// a packed panel of B serves several.
    pub(super) fn next(&self, worker: usize) -> Option<Job> {
        let workers = self.grid.0 * self.grid.1;
        (0..workers).find_map(|step| self.take((worker + step) % workers))
    }

    fn take(&self, owner: usize) -> Option<Job> {
        let part = |index: usize, step: usize, within: &Range<usize>| {
            let start = (within.start + index * step).min(within.end);
            start..(start + step).min(within.end)
        };
        let rows = part(owner / self.grid.1, self.region.0, &(0..self.size.0));
        let cols = part(owner % self.grid.1, self.region.1, &(0..self.size.1));
        let down = rows.len().div_ceil(self.job.0);
        let jobs = down * cols.len().div_ceil(self.job.1);
        let index = self.taken[owner].fetch_add(1, Relaxed);
        (index < jobs).then(|| Job {
            rows: part(index % down, self.job.0, &rows),
            cols: part(index / down, self.job.1, &cols),
        })
    }

    /// The largest job's rows and columns.
    pub(super) fn largest(&self) -> (usize, usize) {
        self.job
    }
}

/// What packing an element of B costs, in multiply-adds of the kernel.
const PACK_B: usize = 8;
/// What reading and packing an element of A costs.
const PACK_A: usize = 4;

/// Runs `work(0..workers)` on the current rayon pool, without touching the heap.
pub(super) fn fork(workers: Range<usize>, work: &(dyn Fn(usize) + Sync)) {
    if workers.len() <= 1 {
        workers.for_each(work);
    } else {
        shared_by_threads(|| split(workers, work));
    }
}

fn split(workers: Range<usize>, work: &(dyn Fn(usize) + Sync)) {
    if workers.len() <= 1 {
        workers.for_each(work);
    } else {
        let middle = workers.start + workers.len() / 2;
        rayon::join(|| split(workers.start..middle, work), || split(middle..workers.end, work));
    }
}
