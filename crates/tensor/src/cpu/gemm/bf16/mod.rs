//! Products of bfloat16 operands, summed in single precision, on instructions made for them.
//!
//! A product is taken in superblocks ([`cut`]): all threads together pack a few megabytes of B as strips of
//! 32 columns ([`pack`]), and A too where it is small; then jobs multiply slivers of A, which they pack for
//! themselves where nobody else needs them, with those strips ([`avx512`], [`amx`]). Operands are rounded to
//! bfloat16, nearest even, as they are packed; results are single precision, or rounded once.
//!
//! An element of C is a chain over ascending k whose order depends on k and the instructions alone: not on
//! threads, nor on where in a tile it lies, nor on what else is in a batch. Between instruction sets bits
//! differ: `vdpbf16ps` adds the odd and the even product of each pair in turn, AMX sums even and odd k of 32
//! apart. Both treat denormal numbers as zeros.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod choice;
#[cfg(target_arch = "x86_64")]
mod cut;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod product;
mod source;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

pub use choice::{Bf16Kernel, bf16_kernel, check_bf16_kernel};
pub(crate) use source::{Source, Target};

use super::Epilogue;

/// Columns of a packed strip of B.
#[cfg(target_arch = "x86_64")]
const STRIP: usize = 32;

/// `C = alpha A B (+ C)`; see [`gemm`](super::gemm).
#[derive(Clone, Copy)]
pub(super) struct Bf16Product<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub alpha: f32,
    pub a: Source,
    pub b: Source,
    pub c: Target,
    pub ldc: usize,
    pub accumulate: bool,
    pub epilogue: Option<Epilogue<'a>>,
}

// SAFETY: `gemm`'s caller vouches for the pointers; workers read A and B and write disjoint parts of C.
unsafe impl Sync for Bf16Product<'_> {}

/// Computes a product, if this machine has instructions for it; says whether it did.
///
/// # Safety
/// As [`gemm`](super::gemm).
pub(super) unsafe fn run(p: &Bf16Product<'_>, threads: usize) -> bool {
    match bf16_kernel() {
        // SAFETY: the choice says which instructions exist; the caller vouches for the rest.
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Bf16Kernel::Amx => unsafe { product::run::<amx::Amx<amx::Hardware>>(p, threads) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Bf16Kernel::Avx512 => unsafe { product::run::<avx512::Avx512>(p, threads) },
        _ => return false,
    }
    true
}

/// A tile of at most [`Kernel::MR`] rows and [`STRIP`] columns: `c = alpha a b (+ c)`.
#[cfg(target_arch = "x86_64")]
struct Tile {
    rows: usize,
    cols: usize,
    /// Columns of A that exist, and those that a packed block has room for.
    k: usize,
    depth: usize,
    a: *const u16,
    /// Whether A was packed with its rows side by side.
    a_lines: bool,
    b: *const u16,
    c: *mut f32,
    /// Elements from a row of C to the next.
    ldc: usize,
    add: bool,
    alpha: f32,
    /// Room for `MR` rows of [`STRIP`] sums, for what C has no room for.
    scratch: *mut f32,
}

#[cfg(target_arch = "x86_64")]
impl Tile {
    /// Brings C to the scratch.
    ///
    /// # Safety
    /// The tile is valid.
    unsafe fn load_scratch(&self) {
        for i in 0..self.rows {
            // SAFETY: the caller's promise.
            unsafe {
                let to = self.scratch.add(i * STRIP);
                to.copy_from_nonoverlapping(self.c.add(i * self.ldc), self.cols);
            }
        }
    }

    /// Brings the scratch to C.
    ///
    /// # Safety
    /// The tile is valid.
    unsafe fn store_scratch(&self) {
        for i in 0..self.rows {
            // SAFETY: the caller's promise; where C is the scratch itself, nothing moves.
            unsafe {
                let from = self.scratch.add(i * STRIP);
                self.c.add(i * self.ldc).copy_from(from, self.cols);
            }
        }
    }

    /// Writes the scratch times alpha to C, or adds it.
    ///
    /// # Safety
    /// The tile is valid.
    unsafe fn scale_scratch(&self) {
        for (i, j) in (0..self.rows).flat_map(|i| (0..self.cols).map(move |j| (i, j))) {
            // SAFETY: the caller's promise.
            unsafe {
                let (sum, c) = (*self.scratch.add(i * STRIP + j), self.c.add(i * self.ldc + j));
                *c = if self.add { sum.mul_add(self.alpha, *c) } else { sum * self.alpha };
            }
        }
    }
}

/// An instruction set's way to multiply.
#[cfg(target_arch = "x86_64")]
trait Kernel: 'static {
    /// Rows of a tile.
    const MR: usize;
    /// The deepest block of k.
    const DEPTH: usize;
    /// Floating-point operations that are worth waking a thread for.
    const FLOPS_PER_WORKER: usize;

    /// Before a thread's first tile.
    ///
    /// # Safety
    /// The instructions exist.
    unsafe fn begin();

    /// After its last.
    ///
    /// # Safety
    /// The instructions exist.
    unsafe fn end();

    /// Elements that a packed sliver of a block takes.
    fn sliver_len(depth: usize) -> usize;

    /// Packs rows of A as slivers.
    ///
    /// # Safety
    /// The instructions exist, the operand has these sizes and `dst` has room.
    unsafe fn pack_a(a: Source, slivers: pack::Slivers, dst: *mut u16);

    /// Computes a tile.
    ///
    /// # Safety
    /// The instructions exist, [`begin`](Self::begin) came before, and the tile names valid memory.
    unsafe fn tile(tile: &Tile);
}
