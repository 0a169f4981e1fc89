//! Instruction sets: what a tile kernel is, and which one this machine runs.

use super::element::{Float, Operand};

/// One call of a tile kernel: `c[rows, NR] = alpha * a[rows, k] b[k, NR] (+ c)`. Strides in bytes.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Tile<T> {
    pub(super) k: usize,
    pub(super) a: *const T,
    /// From a row of `a` to the next.
    pub(super) a_row: isize,
    /// From a column of `a` to the next.
    pub(super) a_col: isize,
    pub(super) b: *const T,
    /// From a row of `b` to the next; its columns are adjacent.
    pub(super) b_row: isize,
    pub(super) c: *mut T,
    /// From a row of `c` to the next; its columns are adjacent.
    pub(super) c_row: usize,
    /// 1 to add to what `c` holds, 0 to overwrite it unread.
    pub(super) accumulate: usize,
    pub(super) alpha: T,
    /// Two cache lines per column of `a` to bring to the second-level cache meanwhile.
    pub(super) ahead: Ahead,
}

/// Memory that will be read after this tile; any address will do. Distances in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    pub(super) ptr: *const u8,
    /// From the first line to the second.
    pub(super) line: isize,
    /// From a column's lines to the next column's.
    pub(super) step: isize,
}

/// An instruction set's kernels for sums of type `T`.
///
/// Every element is one chain of fused multiply-adds over ascending k, wherever in a tile it lies:
/// results do not depend on how rows and columns are cut.
pub(super) trait Isa<T: Float>: 'static {
    /// Rows of a register tile.
    const MR: usize;
    /// Columns of a register tile: two vectors.
    const NR: usize;
    /// Elements in a vector: the side of the square that `transpose` handles.
    const LANES: usize;

    /// Computes a tile of `rows <= MR` rows and `vectors` (1 or 2) vectors of columns.
    ///
    /// # Safety
    /// The instructions exist, and all elements that the tile names may be read, and `c`'s written.
    unsafe fn tile(rows: usize, vectors: usize, tile: &Tile<T>);

    /// Transposes a square of `LANES` x `LANES`: `dst[i * dst_row + j] = src[j * src_row + i]`.
    ///
    /// # Safety
    /// The instructions exist and both squares are valid.
    #[inline(always)]
    unsafe fn transpose(src: *const T, src_row: isize, dst: *mut T, dst_row: usize) {
        for i in 0..Self::LANES {
            for j in 0..Self::LANES {
                // SAFETY: inside the squares that the caller vouches for.
                unsafe {
                    *dst.add(i * dst_row + j) = *src.offset(j as isize * src_row + i as isize);
                }
            }
        }
    }

    /// `a * b + c`, rounded once if these instructions do.
    #[inline(always)]
    fn mul_add(a: T, b: T, c: T) -> T {
        a.mul_add(b, c)
    }

    /// Asks for a cache line that is needed soon; any address will do.
    #[inline(always)]
    fn prefetch<M>(_address: *const M) {}

    /// Compiles and runs `f` with these instructions.
    ///
    /// # Safety
    /// The instructions exist.
    unsafe fn inside<R>(f: impl FnOnce() -> R) -> R;
}

/// Copies `count` elements, widening them.
///
/// # Safety
/// Both ranges are valid and disjoint.
#[inline(always)]
pub(super) unsafe fn widen<A: Operand>(src: *const A, dst: *mut A::Acc, count: usize) {
    const CHUNK: usize = 16;
    // SAFETY: the caller vouches for both ranges.
    unsafe {
        if A::NATIVE {
            dst.copy_from_nonoverlapping(src.cast(), count);
            return;
        }
        let whole = count - count % CHUNK;
        for i in (0..whole).step_by(CHUNK) {
            // A value of its own tells the compiler that source and target do not overlap.
            let wide = src.add(i).cast::<[A; CHUNK]>().read_unaligned().map(A::widen);
            dst.add(i).cast::<[A::Acc; CHUNK]>().write_unaligned(wide);
        }
        for i in whole..count {
            *dst.add(i) = (*src.add(i)).widen();
        }
    }
}
