//! Matrix times vector: bound by memory, so the matrix is read once, in the order it lies in.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Product;
use super::element::{Float, Operand, Output, View};
use super::isa::Isa;
use super::plan::{MAX_WORKERS, fork};
use super::scratch::{Scratch, bytes};

/// Bytes of the matrix that are worth waking a thread for.
const BYTES_PER_WORKER: usize = 512 * 1024;
/// Elements of a matrix from which on this way is the faster one.
const SMALLEST: usize = 16 * 1024;
/// Results that are summed at a time where the matrix lies column by column: they stay in the
/// first-level cache, and each visit to a column reads a long run.
const CHUNK: usize = 4096;
/// Elements of a dot product summed side by side.
const LANES: usize = 16;
/// Bytes of a row, and of those behind it, that are asked for before they are read.
const AHEAD: usize = 2048;
/// Rows, or columns, of the matrix read side by side.
const STREAMS: usize = 4;

/// `y[i] = alpha sum_p matrix[i, p] x[p] (+ y[i])`.
struct MatVec<'p, I, M: Operand, C> {
    cols: usize,
    matrix: View<M>,
    x: *const M::Acc,
    y: *mut C,
    y_step: usize,
    alpha: M::Acc,
    accumulate: bool,
    /// Called with a range of results.
    done: &'p (dyn Fn(Range<usize>) + Sync),
    isa: PhantomData<I>,
}

// SAFETY: as for a product: workers read the matrix and x, and write disjoint parts of y.
unsafe impl<I, M: Operand, C: Send> Sync for MatVec<'_, I, M, C> {}

/// Computes the product if one operand is a vector and the other's rows or columns are adjacent.
/// Returns whether it did.
///
/// # Safety
/// As [`super::gemm`], and the instructions of `I` exist.
pub(super) unsafe fn run<I, A, B, C>(p: &Product<'_, A, B, C>, threads: usize) -> bool
where
    I: Isa<A::Acc>,
    A: Operand,
    B: Operand<Acc = A::Acc>,
    C: Output<Acc = A::Acc>,
{
    // A small matrix is done sooner as a product, unless it is hardly more than a vector itself.
    let large = p.m * p.n * p.k >= SMALLEST;
    let adjacent = |rs, cs| (rs == 1 && (large || p.k < STREAMS)) || (cs == 1 && large);
    // SAFETY: the caller's promises.
    unsafe {
        if p.m == 1 && adjacent(p.b.cs, p.b.rs) {
            let done = |range| p.epilogue.iter().for_each(|f| f(0..1, Range::clone(&range)));
            with::<I, B, A, C>(p, p.b.t(), p.n, p.a.t(), 1, &done, threads);
        } else if p.n == 1 && adjacent(p.a.rs, p.a.cs) {
            let done = |range| p.epilogue.iter().for_each(|f| f(Range::clone(&range), 0..1));
            with::<I, A, B, C>(p, p.a, p.m, p.b, p.ldc, &done, threads);
        } else {
            return false;
        }
    }
    true
}

/// Widens the vector and shares the rows of the matrix among workers.
///
/// # Safety
/// As [`run`]; `matrix` has `rows` x `p.k` elements.
unsafe fn with<I, M, V, C>(
    p: &Product<'_, impl Operand<Acc = M::Acc>, impl Operand, C>,
    matrix: View<M>,
    rows: usize,
    vector: View<V>,
    y_step: usize,
    done: &(dyn Fn(Range<usize>) + Sync),
    threads: usize,
) where
    I: Isa<M::Acc>,
    M: Operand,
    V: Operand<Acc = M::Acc>,
    C: Output<Acc = M::Acc>,
{
    let cols = p.k;
    let mut scratch = Scratch::take(bytes::<M::Acc, 1>([cols]));
    let [x] = scratch.parts::<M::Acc, 1>([cols]);
    for i in 0..cols {
        // SAFETY: the vector has `k` elements, as many as the scratch has room for.
        unsafe { *x.add(i) = (*vector.at(i, 0)).widen() }
    }
    let (alpha, accumulate) = (p.alpha, p.accumulate);
    let isa = PhantomData::<I>;
    let y = p.c;
    let product = MatVec { cols, matrix, x, y, y_step, alpha, accumulate, done, isa };
    let workers = (rows * cols * size_of::<M>() / BYTES_PER_WORKER)
        .clamp(1, threads.min(MAX_WORKERS).min(rows));
    let part = rows.div_ceil(4 * workers).next_multiple_of(LANES).min(CHUNK);
    let taken = AtomicUsize::new(0);
    fork(0..workers, &|_| {
        loop {
            let start = taken.fetch_add(part, Relaxed);
            if start >= rows {
                return;
            }
            // SAFETY: parts are disjoint; the caller vouches for instructions and operands.
            unsafe {
                let range = start..rows.min(start + part);
                if range.len() <= LANES * LANES {
                    I::inside(|| product.compute::<{ LANES * LANES }>(range));
                } else {
                    I::inside(|| product.compute::<CHUNK>(range));
                }
            }
        }
    });
}

impl<I, M, C> MatVec<'_, I, M, C>
where
    I: Isa<M::Acc>,
    M: Operand,
    C: Output<Acc = M::Acc>,
{
    /// Computes at most `MOST` results.
    ///
    /// # Safety
    /// As [`run`]; nobody else writes these results.
    #[inline(always)]
    unsafe fn compute<const MOST: usize>(&self, range: Range<usize>) {
        let mut sums = [M::Acc::ZERO; MOST];
        let sums = &mut sums[..range.len()];
        // SAFETY: the caller's promises.
        unsafe {
            if self.matrix.rs == 1 {
                self.axpys(range.start, sums);
            } else {
                for (row, sum) in range.clone().zip(&mut *sums) {
                    *sum = self.dot(self.matrix.at(row, 0));
                }
            }
            for (i, &sum) in range.clone().zip(&*sums) {
                let y = self.y.add(i * self.y_step);
                let before = if self.accumulate { (*y).widen() } else { M::Acc::ZERO };
                *y = C::narrow(I::mul_add(sum, self.alpha, before));
            }
        }
        (self.done)(range);
    }

    /// The product of a row with x.
    ///
    /// # Safety
    /// As [`Self::compute`].
    #[inline(always)]
    unsafe fn dot(&self, row: *const M) -> M::Acc {
        let mut acc = [[M::Acc::ZERO; LANES]; STREAMS];
        let mut p = 0;
        // SAFETY: inside the row and x.
        unsafe {
            while p + STREAMS * LANES <= self.cols {
                for line in (0..STREAMS * LANES * size_of::<M>()).step_by(64) {
                    I::prefetch(row.add(p).wrapping_byte_add(AHEAD + line));
                }
                for (s, acc) in acc.iter_mut().enumerate() {
                    self.add_lanes(row, p + s * LANES, acc);
                }
                p += STREAMS * LANES;
            }
            while p + LANES <= self.cols {
                self.add_lanes(row, p, &mut acc[0]);
                p += LANES;
            }
            for (l, p) in (p..self.cols).enumerate() {
                acc[0][l] = I::mul_add((*row.add(p)).widen(), *self.x.add(p), acc[0][l]);
            }
        }
        let [a, b, c, d] = acc;
        let mut lanes: [_; LANES] = std::array::from_fn(|l| (a[l] + b[l]) + (c[l] + d[l]));
        let mut width = LANES / 2;
        while width > 0 {
            for l in 0..width {
                lanes[l] = lanes[l] + lanes[l + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// Adds the products of [`LANES`] elements from `p` on.
    ///
    /// # Safety
    /// As [`Self::compute`].
    #[inline(always)]
    unsafe fn add_lanes(&self, row: *const M, p: usize, acc: &mut [M::Acc; LANES]) {
        // SAFETY: inside the row and x.
        let (row, x) = unsafe {
            let x = self.x.add(p).cast::<[M::Acc; LANES]>().read_unaligned();
            (row.add(p).cast::<[M; LANES]>().read_unaligned(), x)
        };
        for l in 0..LANES {
            acc[l] = I::mul_add(row[l].widen(), x[l], acc[l]);
        }
    }

    /// Adds columns times their element of x, a few columns at a time.
    ///
    /// # Safety
    /// As [`Self::compute`].
    #[inline(always)]
    unsafe fn axpys(&self, first: usize, sums: &mut [M::Acc]) {
        let whole = self.cols - self.cols % STREAMS;
        let ahead = STREAMS as isize * self.matrix.cs;
        for p in (0..whole).step_by(STREAMS) {
            let columns: [_; STREAMS] = std::array::from_fn(|s| self.matrix.at(first, p + s));
            // SAFETY: inside x.
            let x = unsafe { self.x.add(p).cast::<[M::Acc; STREAMS]>().read_unaligned() };
            for (group, sums) in sums.chunks_mut(LANES).enumerate() {
                let columns = columns.map(|column| column.wrapping_add(group * LANES));
                for column in columns {
                    I::prefetch(column.wrapping_offset(ahead));
                }
                // SAFETY: inside the columns.
                unsafe { add_columns::<I, M>(columns, x, sums) }
            }
        }
        for p in whole..self.cols {
            let column = self.matrix.at(first, p);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: inside the column and x.
                unsafe { *sum = I::mul_add((*column.add(i)).widen(), *self.x.add(p), *sum) }
            }
        }
    }
}

/// Adds columns times their factors to at most [`LANES`] sums.
///
/// # Safety
/// The columns are as long as the sums.
#[inline(always)]
unsafe fn add_columns<I: Isa<M::Acc>, M: Operand>(
    columns: [*const M; STREAMS],
    factors: [M::Acc; STREAMS],
    sums: &mut [M::Acc],
) {
    if let Ok(sums) = <&mut [M::Acc; LANES]>::try_from(&mut *sums) {
        for (column, factor) in columns.into_iter().zip(factors) {
            // SAFETY: the caller's promise.
            let column = unsafe { column.cast::<[M; LANES]>().read_unaligned() };
            for l in 0..LANES {
                sums[l] = I::mul_add(column[l].widen(), factor, sums[l]);
            }
        }
        return;
    }
    for (column, factor) in columns.into_iter().zip(factors) {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *sum = I::mul_add(unsafe { *column.add(i) }.widen(), factor, *sum);
        }
    }
}
