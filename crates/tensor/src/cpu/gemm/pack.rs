//! Copies of operands in the order in which kernels read them.

use super::element::{Operand, View};
use super::isa::{Isa, widen};

/// Packs `b[rows, cols]` as strips of `NR` columns, each row of a strip adjacent to the next, the
/// last strip filled with zeros.
///
/// # Safety
/// The view is valid for these sizes, `dst` holds `rows * cols` rounded up to whole strips, and the
/// instructions of `I` exist.
pub(super) unsafe fn strips<I: Isa<B::Acc>, B: Operand>(
    b: View<B>,
    rows: usize,
    cols: usize,
    dst: *mut B::Acc,
) {
    let whole = if b.rs == 1 || b.cs == 1 { cols - cols % I::NR } else { 0 };
    let pack = || {
        // SAFETY: inside what the caller vouches for.
        unsafe {
            if b.cs == 1 {
                adjacent::<I, B>(b, rows, whole, dst);
            } else {
                for first in (0..whole).step_by(I::NR) {
                    let strip = View { ptr: b.at(0, first), ..b };
                    transposed::<I, B>(strip, rows, dst.add(first * rows));
                }
            }
            for first in (whole..cols).step_by(I::NR) {
                let strip = View { ptr: b.at(0, first), ..b };
                edge::<I, B>(strip, rows, I::NR.min(cols - first), dst.add(first * rows));
            }
        }
    };
    // SAFETY: the caller vouches for the instructions.
    unsafe { I::inside(pack) }
}

/// Rows or columns to ask for ahead of those being packed.
const AHEAD: usize = 8;

/// Whole strips whose rows lie adjacent in memory: row by row, as memory is read best.
///
/// # Safety
/// As [`strips`].
#[inline(always)]
unsafe fn adjacent<I: Isa<B::Acc>, B: Operand>(
    b: View<B>,
    rows: usize,
    cols: usize,
    dst: *mut B::Acc,
) {
    for p in 0..rows {
        for first in (0..cols).step_by(I::NR) {
            I::prefetch(b.at(p + AHEAD, first));
            I::prefetch(b.at(p + AHEAD, first + I::LANES));
            // SAFETY: as the caller's.
            unsafe { widen(b.at(p, first), dst.add(first * rows + p * I::NR), I::NR) }
        }
    }
}

/// A strip of any strides and width.
///
/// # Safety
/// As [`strips`].
#[inline(always)]
unsafe fn edge<I: Isa<B::Acc>, B: Operand>(
    b: View<B>,
    rows: usize,
    width: usize,
    dst: *mut B::Acc,
) {
    for p in 0..rows {
        // SAFETY: as the caller's.
        unsafe {
            let dst = dst.add(p * I::NR);
            if b.cs == 1 {
                widen(b.at(p, 0), dst, width);
            } else {
                (0..width).for_each(|j| *dst.add(j) = (*b.at(p, j)).widen());
            }
            (width..I::NR).for_each(|j| *dst.add(j) = <B::Acc as Default>::default());
        }
    }
}

/// A whole strip whose columns lie adjacent in memory.
///
/// # Safety
/// As [`strips`].
#[inline(always)]
unsafe fn transposed<I: Isa<B::Acc>, B: Operand>(b: View<B>, rows: usize, dst: *mut B::Acc) {
    const LARGEST: usize = 16;
    let whole = rows - rows % I::LANES;
    let mut square = [<B::Acc as Default>::default(); LARGEST * LARGEST];
    for half in 0..2 {
        let column = half * I::LANES;
        for p in (0..whole).step_by(I::LANES) {
            let src = b.at(p, column);
            // SAFETY: as the caller's; the square has room for LANES x LANES.
            unsafe {
                let out = dst.add(p * I::NR + column);
                for j in 0..I::LANES {
                    I::prefetch(b.at(p + 4 * I::LANES, column + j));
                }
                if B::NATIVE {
                    I::transpose(src.cast(), b.cs, out, I::NR);
                } else {
                    for j in 0..I::LANES {
                        let row = square.as_mut_ptr().add(j * I::LANES);
                        widen(b.at(p, column + j), row, I::LANES);
                    }
                    I::transpose(square.as_ptr(), I::LANES as isize, out, I::NR);
                }
            }
        }
        for p in whole..rows {
            for j in column..column + I::LANES {
                // SAFETY: as the caller's.
                unsafe { *dst.add(p * I::NR + j) = (*b.at(p, j)).widen() }
            }
        }
    }
}

/// Packs the rows of `a[rows, cols]` one after the other, `dst_row` elements apart.
///
/// # Safety
/// The view is valid for these sizes, `dst` for `rows * dst_row`, and the instructions of `I` exist.
pub(super) unsafe fn rows<I: Isa<A::Acc>, A: Operand>(
    a: View<A>,
    rows: usize,
    cols: usize,
    dst: *mut A::Acc,
    dst_row: usize,
) {
    let pack = || {
        for i in 0..rows {
            // SAFETY: inside what the caller vouches for.
            unsafe {
                let dst = dst.add(i * dst_row);
                if a.cs == 1 {
                    widen(a.at(i, 0), dst, cols);
                } else {
                    for p in 0..cols {
                        *dst.add(p) = (*a.at(i, p)).widen();
                    }
                }
            }
        }
    };
    // SAFETY: the caller vouches for the instructions.
    unsafe { I::inside(pack) }
}

/// Packs `a[rows, cols]`, whose columns are adjacent, as slivers of `MR` rows, each column of a
/// sliver adjacent to the next; the last sliver has the rows that are left, `MR` apart still.
///
/// # Safety
/// `a.rs` is 1, the view is valid for these sizes, `dst` for whole slivers, and the instructions of
/// `I` exist.
pub(super) unsafe fn slivers<I: Isa<A::Acc>, A: Operand>(
    a: View<A>,
    rows: usize,
    cols: usize,
    dst: *mut A::Acc,
) {
    let pack = || {
        let whole = rows - rows % I::MR;
        for p in 0..cols {
            // SAFETY: inside what the caller vouches for.
            unsafe {
                for i in (0..whole).step_by(I::MR) {
                    I::prefetch(a.at(i, p + AHEAD));
                    widen(a.at(i, p), dst.add(i * cols + p * I::MR), I::MR);
                }
                if whole < rows {
                    widen(a.at(whole, p), dst.add(whole * cols + p * I::MR), rows - whole);
                }
            }
        }
    };
    // SAFETY: the caller vouches for the instructions.
    unsafe { I::inside(pack) }
}
