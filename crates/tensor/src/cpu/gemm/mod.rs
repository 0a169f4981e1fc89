//! Matrix products: `C = alpha A B (+ C)` for strided f32, f64 and bf16 operands.
//!
//! C is cut into one region per worker and each region into jobs ([`plan`]). A job walks k in blocks of at
//! most 512 f32 ([`worker`]); per block it packs a panel of B as strips two vectors wide (768 KB: the
//! second-level cache), then takes A in slivers of as many rows as a register tile, read where they
//! lie where the cache allows it ([`blocked`]), and runs the tile kernel ([`x86`], [`portable`]) on each
//! pair of sliver and strip. A finished sliver goes to the epilogue while it is still in cache.
//!
//! Every element of C is one chain of fused multiply-adds over ascending k per block, and blocks are
//! added in order; neither depends on the cut. So results are the same bits for any number of
//! threads, and for a row in a batch of any size. Matrix times vector ([`matvec`]) is bound by memory and
//! reads the matrix once, in order.
//!
//! Products of bfloat16 operands, and of single-precision operands that are rounded to it
//! ([`MatmulPrecision::Medium`]), run on instructions made for them where those are faster ([`bf16`]);
//! elsewhere on the kernels above, which then read rounded operands.

mod bf16;
mod blocked;
mod element;
mod isa;
mod matvec;
mod pack;
mod plan;
mod portable;
mod scratch;
#[cfg(test)]
mod tests;
mod worker;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_transpose;

use std::ops::Range;

use crate::precision::MatmulPrecision;
pub use bf16::{Bf16Kernel, bf16_kernel, check_bf16_kernel};
pub(crate) use element::{Float, Operand, Output, View};

/// Whether a product may use the current rayon pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Only the calling thread: for many small products, started by parallel tasks.
    Serial,
    /// The current rayon pool, where the product is large enough.
    Parallel,
}

/// How a product is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub threads: Threads,
    pub precision: MatmulPrecision,
}

impl How {
    /// Single-precision operands as `precision` says, on the calling thread alone.
    pub fn serial(precision: MatmulPrecision) -> Self {
        Self { threads: Threads::Serial, precision }
    }

    /// The same on all threads of the pool.
    pub fn parallel(precision: MatmulPrecision) -> Self {
        Self { threads: Threads::Parallel, precision }
    }
}

/// Called with rows and columns of C that are final: each element of C is in exactly one call.
pub(crate) type Epilogue<'a> = &'a (dyn Fn(Range<usize>, Range<usize>) + Sync);

/// A product to compute; see [`gemm`].
pub(crate) struct Product<'a, A: Operand, B, C> {
    m: usize,
    n: usize,
    k: usize,
    alpha: A::Acc,
    a: View<A>,
    b: View<B>,
    c: *mut C,
    ldc: usize,
    accumulate: bool,
    epilogue: Option<Epilogue<'a>>,
}

// SAFETY: `gemm`'s caller vouches for the pointers; workers read A and B and write disjoint parts of C.
unsafe impl<A: Operand, B: Sync, C: Send> Sync for Product<'_, A, B, C> {}

/// `C[m, n] = alpha A[m, k] B[k, n] + (accumulate ? C : 0)`, row `i` of C starting at `c + i ldc`.
///
/// Sums are formed in f32 (f64 for f64 operands); a bf16 C is rounded once. Without `accumulate`, C
/// is not read. Where one operand is bfloat16, or the precision is [`MatmulPrecision::Medium`], a single-
/// precision operand is rounded to bfloat16. The `epilogue` may read and write the part of C that it is called for.
///
/// # Safety
/// A and B are valid for reads at all their elements, C for writes (and reads, where it is
/// accumulated) at all of its; C overlaps neither and nobody else uses it meanwhile; `ldc >= n`.
pub(crate) unsafe fn gemm<A, B, C>(
    (m, n, k): (usize, usize, usize),
    alpha: A::Acc,
    a: View<A>,
    b: View<B>,
    c: *mut C,
    ldc: usize,
    accumulate: bool,
    epilogue: Option<Epilogue<'_>>,
    How { threads, precision }: How,
) where
    A: Operand,
    B: Operand<Acc = A::Acc>,
    C: Output<Acc = A::Acc>,
{
    if m == 0 || n == 0 {
        return;
    }
    let threads = match threads {
        Threads::Serial => 1,
        Threads::Parallel => rayon::current_num_threads(),
    };
    let rounds = !A::NATIVE || !B::NATIVE || precision == MatmulPrecision::Medium;
    if !rounds {
        let product = Product { m, n, k, alpha, a, b, c, ldc, accumulate, epilogue };
        // SAFETY: the caller's promises.
        return unsafe { A::Acc::dispatch(&product, threads) };
    }
    // A vector is bound by memory, and without k there is nothing to multiply.
    if m > 1
        && n > 1
        && k > 0
        && let (Some(a), Some(b), Some(c)) = (A::source(a), B::source(b), C::target(c))
    {
        let alpha = alpha.to_f32();
        let product = bf16::Bf16Product { m, n, k, alpha, a, b, c, ldc, accumulate, epilogue };
        // SAFETY: the caller's promises.
        if unsafe { bf16::run(&product, threads) } {
            return;
        }
    }
    // SAFETY: the caller's promises; a rounded type has its type's layout.
    unsafe {
        let (a, b) = (a.cast::<A::Rounded>(), b.cast::<B::Rounded>());
        let product = Product { m, n, k, alpha, a, b, c, ldc, accumulate, epilogue };
        A::Acc::dispatch(&product, threads);
    }
}

/// Chooses the way for a product's shape.
///
/// # Safety
/// As [`gemm`], and the instructions of `I` exist.
unsafe fn run<I, A, B, C>(p: &Product<'_, A, B, C>, threads: usize)
where
    I: isa::Isa<A::Acc>,
    A: Operand,
    B: Operand<Acc = A::Acc>,
    C: Output<Acc = A::Acc>,
{
    // SAFETY: the caller's promises.
    unsafe {
        if !matvec::run::<I, A, B, C>(p, threads) {
            blocked::run::<I, A, B, C>(p, plan::workers(p.m, p.n, p.k, threads));
        }
    }
}
