//! One thread's part of a blocked product.

use std::marker::PhantomData;

use super::blocked::{Blocks, ROW_GAP, ReadA};
use super::element::{Float, Operand, Output, View};
use super::isa::{Ahead, Isa, Tile};
use super::plan::Job;
use super::{Product, pack};

/// A product, the memory to pack it in, and what that memory holds.
pub(super) struct Worker<'p, I, A: Operand, B, C> {
    product: &'p Product<'p, A, B, C>,
    blocks: Blocks,
    /// A packed panel of B, or only its last, partial strip.
    panel: *mut A::Acc,
    /// First column and first row of the packed panel.
    packed: Option<(usize, usize)>,
    slivers: *mut A::Acc,
    /// A tile that C has no room for, or all of a job's sums where C cannot hold them.
    sums: *mut A::Acc,
    /// From a row of such sums to the next.
    sums_row: usize,
    isa: PhantomData<I>,
}

/// Where a kernel finds rows of A, strides in bytes.
#[derive(Clone, Copy)]
struct Rows<T> {
    ptr: *const T,
    row: isize,
    col: isize,
}

/// A sliver of a job in a block of k.
#[derive(Clone, Copy)]
struct Part {
    row: usize,
    height: usize,
    k0: usize,
    depth: usize,
    /// Whether it is its group's first.
    first: bool,
    /// The first row of the next group.
    group: usize,
}

/// Bytes of a cache line.
const LINE: isize = 64;

impl<'p, I, A, B, C> Worker<'p, I, A, B, C>
where
    I: Isa<A::Acc>,
    A: Operand,
    B: Operand<Acc = A::Acc>,
    C: Output<Acc = A::Acc>,
{
    pub(super) fn new(
        product: &'p Product<'p, A, B, C>,
        blocks: Blocks,
        panel: *mut A::Acc,
        slivers: *mut A::Acc,
        sums: *mut A::Acc,
        widest: usize,
    ) -> Self {
        let sums_row = if C::NATIVE { I::NR } else { widest };
        Self { product, blocks, panel, packed: None, slivers, sums, sums_row, isa: PhantomData }
    }

    /// Computes a part of C over all of k, and finishes it.
    ///
    /// # Safety
    /// The product's operands are valid, nobody else touches this part of C, and the memory has
    /// room for the job.
    pub(super) unsafe fn compute(&mut self, job: &Job) {
        let Product { k, .. } = *self.product;
        let mut k0 = 0;
        loop {
            let depth = self.blocks.depth.min(k - k0);
            let last = k0 + depth == k;
            // SAFETY: the caller's promises.
            unsafe { self.block(job, k0, depth, last) }
            k0 += depth;
            if last {
                return;
            }
        }
    }

    /// Adds the products of `depth` columns of A from `k0` on.
    ///
    /// # Safety
    /// As [`Self::compute`].
    unsafe fn block(&mut self, job: &Job, k0: usize, depth: usize, last: bool) {
        // SAFETY: the caller's promises; every index stays within the job.
        unsafe {
            self.pack_b(job, k0, depth);
            for first in job.rows.clone().step_by(self.blocks.group) {
                let count = self.blocks.group.min(job.rows.end - first);
                let mut a = self.read_a(first, count, k0, depth);
                for row in (first..first + count).step_by(I::MR) {
                    let height = I::MR.min(first + count - row);
                    let part =
                        Part { row, height, k0, depth, first: row == first, group: first + count };
                    self.sliver(job, part, a);
                    if last {
                        self.finish(job, row, height);
                    }
                    a.ptr = a.ptr.wrapping_add(I::MR * depth);
                }
            }
        }
    }

    /// Packs what the kernel cannot read in place of rows `k0..` of B.
    ///
    /// # Safety
    /// As [`Self::compute`].
    unsafe fn pack_b(&mut self, job: &Job, k0: usize, depth: usize) {
        if self.packed == Some((job.cols.start, k0)) {
            return;
        }
        self.packed = Some((job.cols.start, k0));
        let width = job.cols.len();
        let tail = width % I::NR;
        let whole = match self.blocks.b_in_place {
            true if tail.is_multiple_of(I::LANES) => width,
            true => width - tail,
            false => 0,
        };
        let b = &self.product.b;
        let b = View { ptr: b.at(k0, job.cols.start + whole), ..*b };
        // SAFETY: the caller's promises.
        unsafe { pack::strips::<I, B>(b, depth, width - whole, self.panel) }
    }

    /// Makes `count` rows of A readable for the kernel.
    ///
    /// # Safety
    /// As [`Self::compute`].
    unsafe fn read_a(&self, first: usize, count: usize, k0: usize, depth: usize) -> Rows<A::Acc> {
        let size = size_of::<A::Acc>() as isize;
        let a = View { ptr: self.product.a.at(first, k0), ..self.product.a };
        // SAFETY: the caller's promises.
        unsafe {
            match self.blocks.read_a {
                ReadA::InPlace => Rows { ptr: a.ptr.cast(), row: a.rs * size, col: a.cs * size },
                ReadA::Rows => {
                    let gap = depth.next_multiple_of(ROW_GAP) + ROW_GAP;
                    pack::rows::<I, A>(a, count, depth, self.slivers, gap);
                    Rows { ptr: self.slivers, row: gap as isize * size, col: size }
                }
                ReadA::Slivers => {
                    pack::slivers::<I, A>(a, count, depth, self.slivers);
                    Rows { ptr: self.slivers, row: size, col: I::MR as isize * size }
                }
            }
        }
    }

    /// Multiplies a sliver of A with the panel of B.
    ///
    /// # Safety
    /// As [`Self::compute`].
    unsafe fn sliver(&self, job: &Job, part: Part, a: Rows<A::Acc>) {
        let p = self.product;
        let size = size_of::<A::Acc>();
        let (ahead, stride) = self.ahead(job, part);
        let mut tile = Tile {
            k: part.depth,
            a: a.ptr,
            a_row: a.row,
            a_col: a.col,
            b: self.panel,
            b_row: 0,
            c: self.sums,
            c_row: self.sums_row * size,
            accumulate: usize::from(part.k0 > 0 || (C::NATIVE && p.accumulate)),
            alpha: p.alpha,
            ahead,
        };
        for skip in (0..job.cols.len()).step_by(I::NR) {
            let columns = I::NR.min(job.cols.len() - skip);
            let whole = columns.is_multiple_of(I::LANES);
            if self.blocks.b_in_place && whole {
                tile.b = p.b.at(part.k0, job.cols.start + skip).cast();
                tile.b_row = p.b.rs * size as isize;
            } else {
                let packed = if self.blocks.b_in_place { 0 } else { skip };
                tile.b = self.panel.wrapping_add(packed * part.depth);
                tile.b_row = (I::NR * size) as isize;
            }
            // SAFETY: the caller's promises; a tile that C has no room for goes to the sums.
            unsafe { self.tile(job, part, skip, columns, &mut tile) }
            tile.ahead.ptr = tile.ahead.ptr.wrapping_offset(stride);
        }
    }

    /// Computes a tile, in C if it fits there.
    ///
    /// # Safety
    /// As [`Self::compute`].
    unsafe fn tile(
        &self,
        job: &Job,
        part: Part,
        skip: usize,
        columns: usize,
        tile: &mut Tile<A::Acc>,
    ) {
        let ldc = self.product.ldc;
        let c = self.product.c.wrapping_add(part.row * ldc + job.cols.start + skip).cast();
        let vectors = columns.div_ceil(I::LANES);
        // SAFETY: the caller's promises.
        unsafe {
            if !C::NATIVE {
                tile.c = self.sums.add((part.row - job.rows.start) * self.sums_row + skip);
                I::tile(part.height, vectors, tile);
            } else if columns.is_multiple_of(I::LANES) {
                tile.c = c;
                tile.c_row = ldc * size_of::<A::Acc>();
                I::tile(part.height, vectors, tile);
            } else {
                tile.c = self.sums;
                tile.c_row = self.sums_row * size_of::<A::Acc>();
                if tile.accumulate != 0 {
                    copy(c, ldc, self.sums, self.sums_row, part.height, columns);
                }
                I::tile(part.height, vectors, tile);
                copy(self.sums, self.sums_row, c, ldc, part.height, columns);
            }
        }
    }

    /// What to fetch during the first tile of a part, and how much further during each next one: the
    /// A that follows, or after a block's last rows the B of the next block.
    fn ahead(&self, job: &Job, part: Part) -> (Ahead, isize) {
        let p = self.product;
        let next = part.row + part.height;
        if next == job.rows.end {
            if p.b.cs == 1 && !self.blocks.b_in_place && part.k0 + part.depth < p.k {
                let size = size_of::<B>() as isize;
                let ptr = p.b.at(part.k0 + part.depth, job.cols.start).cast();
                return (Ahead { ptr, line: LINE, step: p.b.rs * size }, I::NR as isize * size);
            }
        } else if p.a.cs == 1 {
            let size = size_of::<A>() as isize;
            let ptr = p.a.at(next, part.k0).cast();
            return (Ahead { ptr, line: p.a.rs * size, step: size }, 2 * p.a.rs * size);
        } else if self.blocks.read_a == ReadA::Slivers && part.first && part.group < job.rows.end {
            let size = size_of::<A>() as isize;
            let ptr = p.a.at(part.group, part.k0).cast();
            return (Ahead { ptr, line: LINE, step: p.a.cs * size }, 2 * LINE);
        }
        (Ahead { ptr: self.panel.cast_const().cast(), line: 0, step: 0 }, 0)
    }

    /// Rounds finished sums into C where it holds a narrower type, and runs the epilogue.
    ///
    /// # Safety
    /// As [`Self::compute`].
    unsafe fn finish(&self, job: &Job, row: usize, height: usize) {
        let p = self.product;
        if !C::NATIVE {
            for i in row..row + height {
                // SAFETY: rows and columns of the job.
                unsafe {
                    let sums = self.sums.add((i - job.rows.start) * self.sums_row);
                    let c = p.c.add(i * p.ldc + job.cols.start);
                    I::inside(|| narrow(sums, c, job.cols.len(), p.accumulate));
                }
            }
        }
        if let Some(epilogue) = p.epilogue {
            epilogue(row..row + height, job.cols.clone());
        }
    }
}

/// Writes sums, rounded, to or onto a row of C.
///
/// # Safety
/// Both ranges are valid.
#[inline(always)]
unsafe fn narrow<C: Output>(sums: *const C::Acc, c: *mut C, count: usize, accumulate: bool) {
    for j in 0..count {
        // SAFETY: the caller's promise.
        unsafe {
            let sum = *sums.add(j);
            let c = c.add(j);
            *c = C::narrow(if accumulate { sum.mul_add(C::Acc::ONE, (*c).widen()) } else { sum });
        }
    }
}

/// Copies a tile.
///
/// # Safety
/// Both tiles are valid and disjoint.
unsafe fn copy<T: Copy>(
    from: *const T,
    from_row: usize,
    to: *mut T,
    to_row: usize,
    rows: usize,
    cols: usize,
) {
    for i in 0..rows {
        // SAFETY: the caller's promise.
        unsafe { to.add(i * to_row).copy_from_nonoverlapping(from.add(i * from_row), cols) }
    }
}
