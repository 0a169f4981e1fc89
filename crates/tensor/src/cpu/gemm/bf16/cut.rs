//! How a product is cut: the depth of blocks decides its bits, the rest only who computes what.

use super::{Bf16Product, Kernel, STRIP};
use crate::cpu::gemm::plan::MAX_WORKERS;

/// Bytes of packed B in a superblock: the last-level cache's share of a core or two.
const SHARED_BYTES: usize = 4 << 20;
/// Columns of k in a superblock, at most, where there are strips enough to fill it otherwise.
const SUPER_DEPTH: usize = 4096;
/// Strips of a superblock, at least.
const FEWEST_STRIPS: usize = 16;
/// Bytes of slivers that a job packs for itself: half of a second-level cache.
const OWN_BYTES: usize = 384 << 10;
/// Bytes of strips that a job takes at a time: as much again.
const PANEL_BYTES: usize = 512 << 10;
/// Elements beyond a packed strip's length: spreads strips over the cache's sets.
const STRIP_GAP: usize = 64;

/// The cut of a product for a number of workers.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub workers: usize,
    /// Columns of A in a block: from k alone, since it fixes the order of the sums.
    pub depth: usize,
    /// Blocks of k: all, and of a superblock.
    pub blocks: usize,
    pub group: usize,
    /// Strips of B: all, and of a superblock.
    pub strips: usize,
    pub chunk: usize,
    /// Slivers of A: all, and of a job.
    pub slivers: usize,
    pub rows: usize,
    /// Strips of a job, and those that it takes at a time.
    pub cols: usize,
    pub panel: usize,
    /// Whether A is packed by all for all, and not by each job for itself.
    pub shared_a: bool,
    pub sliver_len: usize,
    pub strip_len: usize,
}

impl Cut {
    pub fn new<K: Kernel>(p: &Bf16Product<'_>, threads: usize) -> Self {
        let flops = 2 * p.m * p.n * p.k;
        let workers = (flops / K::FLOPS_PER_WORKER).clamp(1, threads.min(MAX_WORKERS));
        let depth = p.k.div_ceil(p.k.div_ceil(K::DEPTH)).next_multiple_of(32);
        let (blocks, slivers, strips) =
            (p.k.div_ceil(depth), p.m.div_ceil(K::MR), p.n.div_ceil(STRIP));
        let (sliver_len, strip_len) = (K::sliver_len(depth), depth * STRIP + STRIP_GAP);
        let group = blocks.min((SUPER_DEPTH / depth).max(1));
        let fit = SHARED_BYTES / (2 * strip_len * group);
        let chunk = strips.min(fit.max(FEWEST_STRIPS));
        let panel = (PANEL_BYTES / (2 * strip_len)).clamp(1, chunk);
        let most_rows = (OWN_BYTES / (2 * sliver_len)).clamp(1, slivers);
        let shared_a = workers > 1 && slivers < 3 * workers;
        let mut cut = Self {
            workers,
            depth,
            blocks,
            group,
            strips,
            chunk,
            slivers,
            rows: most_rows,
            cols: chunk,
            panel,
            shared_a,
            sliver_len,
            strip_len,
        };
        if workers > 1 {
            cut.balance(most_rows);
        }
        cut
    }

    /// Chooses the jobs whose slowest worker has the least to do.
    fn balance(&mut self, most_rows: usize) {
        let widths = if self.shared_a { 1..=self.chunk } else { self.chunk..=self.chunk };
        let mut best = usize::MAX;
        for cols in widths {
            for rows in 1..=most_rows {
                let jobs = self.chunk.div_ceil(cols) * self.slivers.div_ceil(rows);
                // In quarters of a tile: a job costs its tiles, what it packs or fetches, and a start.
                let packs = if self.shared_a { 2 * (rows + cols) } else { 10 * rows + 2 * cols };
                let cost = jobs.div_ceil(self.workers) * (4 * rows * cols + packs + 4);
                if cost < best {
                    (best, self.rows, self.cols) = (cost, rows, cols);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, Target, avx512::Avx512};
    use super::*;
    use crate::cpu::gemm::element::View;

    #[test]
    fn the_depth_follows_from_k_alone_and_jobs_keep_all_workers_busy() {
        let cut = |m, n, k, threads| {
            let operand = Source::F32(View::new(std::ptr::null(), k, 1));
            let c = Target::F32(std::ptr::null_mut());
            let product = Bf16Product {
                m,
                n,
                k,
                alpha: 1.0,
                a: operand,
                b: operand,
                c,
                ldc: n,
                accumulate: false,
                epilogue: None,
            };
            Cut::new::<Avx512>(&product, threads)
        };
        for k in [1, 31, 384, 769, 5000] {
            let depth = cut(64, 64, k, 1).depth;
            for (m, n, threads) in [(1000, 30, 3), (17, 5000, 16), (3072, 1152, 16)] {
                assert_eq!(cut(m, n, k, threads).depth, depth);
            }
        }
        for (m, n, k) in [(3072, 1152, 384), (384, 1536, 3072), (3072, 384, 1536), (384, 384, 3072)]
        {
            let cut = cut(m, n, k, 16);
            let jobs = cut.slivers.div_ceil(cut.rows) * cut.chunk.div_ceil(cut.cols);
            let turns = jobs.div_ceil(cut.workers);
            let fair = cut.slivers * cut.chunk;
            let slowest = turns * cut.rows * cut.cols * cut.workers;
            assert!(
                10 * slowest <= 13 * fair,
                "{m} x {n} x {k}: {slowest} tiles for {fair}: {cut:?}"
            );
        }
    }
}
