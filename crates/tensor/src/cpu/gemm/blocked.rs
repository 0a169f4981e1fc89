//! The blocked product: panels of B packed for the second-level cache, slivers of A for the first.

use super::Product;
use super::element::{Operand, Output};
use super::isa::Isa;
use super::plan::{Plan, fork};
use super::scratch::{Scratch, bytes};
use super::worker::Worker;

/// Bytes of a packed panel of B: most of a second-level cache.
const PANEL_BYTES: usize = 512 * 1024;
/// Depth of a block, in bytes of one row of A: a sliver stays in the first-level cache.
const DEPTH_BYTES: usize = 1536;
/// Slivers of A packed at a time, when its columns are adjacent.
const SLIVERS: usize = 8;
/// Rows of A over which packing a panel of B is cheap.
const LEAST_ROWS: usize = 128;
/// Elements between packed rows of A beyond their length: spreads them over the cache's sets.
pub(super) const ROW_GAP: usize = 16;

/// How A is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadA {
    InPlace,
    /// Copied row by row, so that rows do not compete for the same cache sets.
    Rows,
    /// Copied as slivers, since its columns are adjacent.
    Slivers,
}

/// Choices that follow from the product alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Columns of A taken at a time: depends on k only, since it fixes the order of the sums.
    pub(super) depth: usize,
    pub(super) read_a: ReadA,
    /// Rows of A read or packed at a time.
    pub(super) group: usize,
    /// Whether whole strips of B are read where they lie.
    pub(super) b_in_place: bool,
}

impl Blocks {
    fn new<I, A, B, C>(p: &Product<'_, A, B, C>) -> Self
    where
        I: Isa<A::Acc>,
        A: Operand,
        B: Operand<Acc = A::Acc>,
        C: Output<Acc = A::Acc>,
    {
        let size = size_of::<A::Acc>();
        let blocks = p.k.div_ceil(DEPTH_BYTES / size).max(1);
        // Rows a multiple of 2 KB apart fall into the same two places of the first-level cache.
        let spread = !(p.a.rs.unsigned_abs() * size).is_multiple_of(2048);
        let rows_serve = p.a.cs == 1 && (spread || p.n <= I::NR);
        let columns_serve = p.a.rs == 1 && p.n <= 4 * I::NR && p.k <= 128;
        let read_a = if A::NATIVE && (rows_serve || columns_serve) {
            ReadA::InPlace
        } else if p.a.rs == 1 {
            ReadA::Slivers
        } else {
            ReadA::Rows
        };
        Self {
            depth: p.k.div_ceil(blocks),
            read_a,
            group: if read_a == ReadA::Slivers { SLIVERS * I::MR } else { I::MR },
            b_in_place: B::NATIVE && p.b.cs == 1 && p.m <= 4 * I::MR,
        }
    }
}

/// Computes a product.
///
/// # Safety
/// As [`super::gemm`], and the instructions of `I` exist.
pub(super) unsafe fn run<I, A, B, C>(p: &Product<'_, A, B, C>, workers: usize)
where
    I: Isa<A::Acc>,
    A: Operand,
    B: Operand<Acc = A::Acc>,
    C: Output<Acc = A::Acc>,
{
    let blocks = Blocks::new::<I, A, B, C>(p);
    let widest = (PANEL_BYTES / size_of::<A::Acc>() / blocks.depth.max(1)).max(I::NR);
    // A panel of B serves one job, or all jobs of its columns if it holds all of k.
    let least = if blocks.depth < p.k { LEAST_ROWS } else { LEAST_ROWS / 2 };
    // Sums that C cannot hold take memory of their own.
    let most = if C::NATIVE { p.m } else { 2 * LEAST_ROWS };
    let plan = Plan::new((p.m, p.n), (I::MR, I::NR), (most, widest), least, workers);
    let (rows, cols) = plan.largest();
    let counts = [
        if blocks.b_in_place { I::NR } else { cols } * blocks.depth,
        match blocks.read_a {
            ReadA::InPlace => 0,
            ReadA::Rows => I::MR * (blocks.depth + 2 * ROW_GAP),
            ReadA::Slivers => blocks.group * blocks.depth,
        },
        if C::NATIVE { I::MR * I::NR } else { rows * cols },
    ];
    let work = |index| {
        let mut scratch = Scratch::take(bytes::<A::Acc, 3>(counts));
        let [b, a, c] = scratch.parts(counts);
        let mut worker = Worker::<I, A, B, C>::new(p, blocks, b, a, c, cols);
        while let Some(job) = plan.next(index) {
            // SAFETY: jobs are disjoint parts of C; the memory has room for the largest.
            unsafe { worker.compute(&job) }
        }
    };
    fork(0..workers, &work);
}
