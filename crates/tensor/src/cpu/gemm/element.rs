//! The number types of a product: what is read, what is summed, what is written.

use half::bf16;

use super::bf16::{Source, Target};

/// A matrix read through a pointer and two strides, counted in elements.
///
/// A transposed matrix is the same view with its strides swapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<T> {
    /// Element (0, 0).
    pub(crate) ptr: *const T,
    /// Distance from a row to the next.
    pub(crate) rs: isize,
    /// Distance from a column to the next.
    pub(crate) cs: isize,
}

impl<T> View<T> {
    /// A view with its row and column strides.
    pub(crate) fn new(ptr: *const T, rs: usize, cs: usize) -> Self {
        Self { ptr, rs: rs as isize, cs: cs as isize }
    }

    /// The address of element (`row`, `col`).
    pub(in crate::cpu) fn at(&self, row: usize, col: usize) -> *const T {
        self.ptr.wrapping_offset(row as isize * self.rs + col as isize * self.cs)
    }

    /// The same memory read as numbers of another type.
    ///
    /// # Safety
    /// `U` has the layout of `T`.
    pub(super) unsafe fn cast<U>(self) -> View<U> {
        View { ptr: self.ptr.cast(), rs: self.rs, cs: self.cs }
    }

    /// The transposed matrix.
    pub(super) fn t(self) -> Self {
        Self { ptr: self.ptr, rs: self.cs, cs: self.rs }
    }
}

/// A type in which products are summed: f32 or f64.
pub(crate) trait Float:
    Output<Acc = Self> + PartialEq + Default + std::ops::Add<Output = Self> + std::fmt::Debug
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;

    /// The number in single precision.
    fn to_f32(self) -> f32;

    /// `self * factor + sum`, rounded once where the machine has such an instruction.
    fn mul_add(self, factor: Self, sum: Self) -> Self;

    /// `self * factor + sum`, rounded once: slow where the machine has no such instruction.
    fn fused(self, factor: Self, sum: Self) -> Self;

    /// Runs a product with the best instructions of this machine.
    ///
    /// # Safety
    /// As [`super::gemm`].
    unsafe fn dispatch<A, B, C>(product: &super::Product<'_, A, B, C>, threads: usize)
    where
        A: Operand<Acc = Self>,
        B: Operand<Acc = Self>,
        C: Output<Acc = Self>;
}

/// A type that a product reads.
pub(crate) trait Operand: Copy + Send + Sync + 'static {
    /// The type of the sums.
    type Acc: Float;
    /// The same numbers in memory, read as bfloat16 holds them: of this type's layout.
    type Rounded: Operand<Acc = Self::Acc>;
    /// Whether memory already holds the type of the sums.
    const NATIVE: bool;

    /// The operand of a product in bfloat16, where this type can be one.
    fn source(_view: View<Self>) -> Option<Source> {
        None
    }

    /// The value in the type of the sums, exactly.
    fn widen(self) -> Self::Acc;
}

/// A type that a product writes.
pub(crate) trait Output: Operand {
    /// The value rounded to nearest even.
    fn narrow(value: Self::Acc) -> Self;

    /// The result of a product in bfloat16, where this type can be one.
    fn target(_c: *mut Self) -> Option<Target> {
        None
    }
}

macro_rules! native {
    ($t:ty, $rounded:ty, $source:expr, $target:expr) => {
        impl Operand for $t {
            type Acc = Self;
            type Rounded = $rounded;
            const NATIVE: bool = true;

            fn source(view: View<Self>) -> Option<Source> {
                $source(view)
            }

            #[inline(always)]
            fn widen(self) -> Self {
                self
            }
        }

        impl Output for $t {
            #[inline(always)]
            fn narrow(value: Self) -> Self {
                value
            }

            fn target(c: *mut Self) -> Option<Target> {
                $target(c)
            }
        }

        impl Float for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn to_f32(self) -> f32 {
                self as f32
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, sum: Self) -> Self {
                // Without the instruction, `mul_add` would call a slow library function.
                if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                    <$t>::mul_add(self, factor, sum)
                } else {
                    self * factor + sum
                }
            }

            #[inline(always)]
            fn fused(self, factor: Self, sum: Self) -> Self {
                <$t>::mul_add(self, factor, sum)
            }

            unsafe fn dispatch<A, B, C>(product: &super::Product<'_, A, B, C>, threads: usize)
            where
                A: Operand<Acc = Self>,
                B: Operand<Acc = Self>,
                C: Output<Acc = Self>,
            {
                // SAFETY: the level says which instructions exist; the caller vouches for the rest.
                unsafe {
                    match crate::real::level() {
                        #[cfg(target_arch = "x86_64")]
                        crate::real::Level::Avx512 => {
                            super::run::<super::x86::Avx512, A, B, C>(product, threads);
                        }
                        #[cfg(target_arch = "x86_64")]
                        crate::real::Level::Avx2 => {
                            super::run::<super::x86::Avx2, A, B, C>(product, threads);
                        }
                        _ => {
                            super::run::<super::portable::Portable, A, B, C>(product, threads);
                        }
                    }
                }
            }
        }
    };
}

native!(f32, Rounded, |view| Some(Source::F32(view)), |c| Some(Target::F32(c)));
native!(f64, f64, |_| None, |_| None);

/// Single precision in memory, rounded to bfloat16 where it is read.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Rounded(f32);

impl Operand for Rounded {
    type Acc = f32;
    type Rounded = Self;
    const NATIVE: bool = false;

    #[inline(always)]
    fn widen(self) -> f32 {
        <bf16 as Output>::narrow(self.0).widen()
    }
}

impl Operand for bf16 {
    type Acc = f32;
    type Rounded = Self;
    const NATIVE: bool = false;

    fn source(view: View<Self>) -> Option<Source> {
        Some(Source::Bf16(view))
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        // A bf16 is the upper half of an f32; written out so that it vectorises.
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Output for bf16 {
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        // Rounding could carry a NaN's payload into the sign or to infinity: keep it quiet instead.
        let quiet = (bits >> 16) | 0x40;
        Self::from_bits(if value.is_nan() { quiet } else { rounded } as u16)
    }

    fn target(c: *mut Self) -> Option<Target> {
        Some(Target::Bf16(c))
    }
}
