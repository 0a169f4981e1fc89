//! Register tiles in plain Rust for machines without a kernel of their own (ARM's NEON among them:
//! these loops compile to its vector instructions).

use super::element::Float;
use super::isa::{Isa, Tile};

/// Any machine.
pub(super) struct Portable;

/// Rows of a tile: with two vectors of columns, what the registers hold.
const ROWS: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };
/// Elements in a vector of 16 bytes, for the narrower type.
const LANES: usize = 4;

impl<T: Float> Isa<T> for Portable {
    const MR: usize = ROWS;
    const NR: usize = 2 * LANES;
    const LANES: usize = LANES;

    unsafe fn tile(rows: usize, vectors: usize, tile: &Tile<T>) {
        // SAFETY: the caller vouches for the tile.
        unsafe {
            match vectors {
                2 => sum::<T, { 2 * LANES }>(rows, tile),
                _ => sum::<T, LANES>(rows, tile),
            }
        }
    }

    unsafe fn inside<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
}

/// # Safety
/// As [`Isa::tile`].
unsafe fn sum<T: Float, const COLS: usize>(rows: usize, tile: &Tile<T>) {
    let mut acc = [[T::ZERO; COLS]; ROWS];
    for p in 0..tile.k as isize {
        // SAFETY: within the tile's A and B; rows past the last read the last again.
        unsafe {
            let b = tile.b.byte_offset(p * tile.b_row).cast::<[T; COLS]>().read_unaligned();
            for (r, acc) in acc.iter_mut().enumerate() {
                let a = r.min(rows - 1) as isize * tile.a_row + p * tile.a_col;
                let a = tile.a.byte_offset(a).read();
                for (acc, b) in acc.iter_mut().zip(b) {
                    *acc = a.mul_add(b, *acc);
                }
            }
        }
    }
    for (r, acc) in acc.iter().enumerate().take(rows) {
        for (j, &sum) in acc.iter().enumerate() {
            // SAFETY: within the tile's C.
            unsafe {
                let c = tile.c.byte_add(r * tile.c_row).add(j);
                let before = if tile.accumulate == 0 { T::ZERO } else { *c };
                *c = sum.mul_add(tile.alpha, before);
            }
        }
    }
}
