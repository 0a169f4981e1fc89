//! Numbers that a formula is written in once.
//!
//! [`Real`] is what the paper's line is generic over: the same text runs on one `f64` in a test, on
//! sixteen `f32` at once in training, and on whatever else implements the trait. [`Lanes`] adds what
//! a kernel needs to walk memory; [`Simd`] names the lanes of one instruction set, and [`dispatch`]
//! picks the best set that the machine has.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dispatch;
mod macros;
mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
mod traced;

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(test)]
pub(crate) use dispatch::dispatch_at;
pub use dispatch::{Kernel, Level, Simd, check_level, dispatch, level};
pub use scalar::Plain;
pub use traced::{C_FLOAT, Program, Traced, TracedMask, trace};

/// A number, or several side by side, on which elementwise formulas are written.
///
/// Every method acts on each lane by itself. `f32` and `f64` implement it directly.
///
/// ```
/// use rappel_tensor::Real;
/// fn softplus<R: Real>(x: R) -> R {
///     (R::of(1.0) + x.exp()).ln()
/// }
/// assert!((softplus(0.0_f64) - 2.0_f64.ln()).abs() < 1e-15);
/// ```
pub trait Real:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The answer of a comparison, lane by lane.
    type Mask: Copy
        + BitAnd<Output = Self::Mask>
        + BitOr<Output = Self::Mask>
        + Not<Output = Self::Mask>;

    /// The constant `x` in every lane, rounded to the lane's precision.
    fn of(x: f64) -> Self;
    /// `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The smaller of the two; `other` where `self` is NaN.
    fn min(self, other: Self) -> Self;
    /// The larger of the two; `other` where `self` is NaN.
    fn max(self, other: Self) -> Self;
    /// To the nearest integer, ties to even.
    fn round(self) -> Self;
    /// `self < other`; false for NaN.
    fn lt(self, other: Self) -> Self::Mask;
    /// `self <= other`; false for NaN.
    fn le(self, other: Self) -> Self::Mask;
    /// `self == other`; false for NaN.
    fn eq(self, other: Self) -> Self::Mask;
    /// `yes` where the mask holds, else `no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// e to the power `self`.
    fn exp(self) -> Self;
    /// Natural logarithm; NaN below zero, minus infinity at zero.
    fn ln(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The error function, `2/sqrt(pi)` times the integral of `exp(-t^2)` from 0 to `self`.
    fn erf(self) -> Self;
    /// Sine, in radians.
    fn sin(self) -> Self;
    /// Cosine, in radians.
    fn cos(self) -> Self;
    /// `self` to the power `exponent`, as `f64::powf`.
    fn powf(self, exponent: Self) -> Self;

    /// `-1`, `0` or `1`; zero (and NaN) give `0`.
    #[inline(always)]
    fn sign(self) -> Self {
        let zero = Self::of(0.0);
        let negative = Self::select(self.lt(zero), Self::of(-1.0), zero);
        Self::select(zero.lt(self), Self::of(1.0), negative)
    }
    /// `self + weight * (end - self)`, the form PyTorch's `lerp` uses for weights below one half.
    #[inline(always)]
    fn lerp(self, end: Self, weight: Self) -> Self {
        weight.mul_add(end - self, self)
    }
    /// `self * self`.
    #[inline(always)]
    fn square(self) -> Self {
        self * self
    }
    /// `1 / self`.
    #[inline(always)]
    fn recip(self) -> Self {
        Self::of(1.0) / self
    }
    /// The logistic function `1 / (1 + exp(-self))`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        (Self::of(1.0) + (-self).exp()).recip()
    }
}

/// Several numbers side by side, moved between memory and registers.
pub trait Lanes: Real {
    /// One lane.
    type Scalar: Copy + Into<f64>;
    /// How many lanes.
    const LANES: usize;
    /// Reads `LANES` numbers.
    ///
    /// # Safety
    /// `from` must be valid for reading `LANES` scalars; it need not be aligned.
    unsafe fn load(from: *const Self::Scalar) -> Self;
    /// Writes `LANES` numbers.
    ///
    /// # Safety
    /// `to` must be valid for writing `LANES` scalars; it need not be aligned.
    unsafe fn store(self, to: *mut Self::Scalar);
    /// Reads the first `n < LANES` lanes, the others are zero.
    ///
    /// # Safety
    /// `from` must be valid for reading `n` scalars.
    unsafe fn load_partial(from: *const Self::Scalar, n: usize) -> Self;
    /// Writes the first `n < LANES` lanes.
    ///
    /// # Safety
    /// `to` must be valid for writing `n` scalars.
    unsafe fn store_partial(self, to: *mut Self::Scalar, n: usize);
    /// The sum of all lanes, always in the same order.
    fn reduce_sum(self) -> Self::Scalar;
    /// The largest lane.
    fn reduce_max(self) -> Self::Scalar;
}

/// Lanes of `f32` that also read and write bfloat16.
pub trait Lanes32: Lanes<Scalar = f32> {
    /// Reads `LANES` bfloat16 and widens them.
    ///
    /// # Safety
    /// `from` must be valid for reading `LANES` values.
    unsafe fn load_bf16(from: *const half::bf16) -> Self;
    /// Rounds to nearest even and writes `LANES` bfloat16.
    ///
    /// # Safety
    /// `to` must be valid for writing `LANES` values.
    unsafe fn store_bf16(self, to: *mut half::bf16);
    /// `2^self` for integral lanes in `-126..=127`.
    fn exp2_integral(self) -> Self;
    /// Splits positive, normal lanes into a mantissa in `[sqrt(1/2), sqrt(2))` and an exponent.
    fn split_exponent(self) -> (Self, Self);
    /// The bits of each lane, a positive number's, as an integer: `2^23 (127 + log2 self)`, where the
    /// logarithm is a straight line between powers of two, too small by 0.087 at most.
    fn bits(self) -> Self;
    /// For each lane the number of `table` that its last three bits count.
    fn lookup(self, table: &[f32; 8]) -> Self;
}

/// The numbers that a buffer holds, as a kernel of instruction set `S` reads and writes them.
pub trait Stored: crate::dtype::Float {
    /// The lanes that arithmetic runs on: `f32` lanes for bfloat16.
    type Wide<S: Simd>: Lanes;
    /// Reads a whole register.
    ///
    /// # Safety
    /// `from` must be valid for reading as many values as `Wide<S>` has lanes.
    unsafe fn load<S: Simd>(from: *const Self) -> Self::Wide<S>;
    /// Writes a whole register.
    ///
    /// # Safety
    /// `to` must be valid for writing as many values as `Wide<S>` has lanes.
    unsafe fn store<S: Simd>(value: Self::Wide<S>, to: *mut Self);
    /// Reads the first `n` lanes, zero elsewhere.
    ///
    /// # Safety
    /// `from` must be valid for reading `n` values, fewer than there are lanes.
    unsafe fn load_partial<S: Simd>(from: *const Self, n: usize) -> Self::Wide<S>;
    /// Writes the first `n` lanes.
    ///
    /// # Safety
    /// `to` must be valid for writing `n` values, fewer than there are lanes.
    unsafe fn store_partial<S: Simd>(value: Self::Wide<S>, to: *mut Self, n: usize);
}

macro_rules! stored {
    ($scalar:ty, $lanes:ident) => {
        impl Stored for $scalar {
            type Wide<S: Simd> = S::$lanes;
            #[inline(always)]
            unsafe fn load<S: Simd>(from: *const Self) -> S::$lanes {
                // SAFETY: the caller's promise is the same.
                unsafe { S::$lanes::load(from) }
            }
            #[inline(always)]
            unsafe fn store<S: Simd>(value: S::$lanes, to: *mut Self) {
                // SAFETY: the caller's promise is the same.
                unsafe { value.store(to) }
            }
            #[inline(always)]
            unsafe fn load_partial<S: Simd>(from: *const Self, n: usize) -> S::$lanes {
                // SAFETY: the caller's promise is the same.
                unsafe { S::$lanes::load_partial(from, n) }
            }
            #[inline(always)]
            unsafe fn store_partial<S: Simd>(value: S::$lanes, to: *mut Self, n: usize) {
                // SAFETY: the caller's promise is the same.
                unsafe { value.store_partial(to, n) }
            }
        }
    };
}
stored!(f32, F32);
stored!(f64, F64);

/// The widest register in lanes, for scratch arrays.
pub(crate) const MAX_LANES: usize = 16;

impl Stored for half::bf16 {
    type Wide<S: Simd> = S::F32;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::F32 {
        // SAFETY: the caller's promise is the same.
        unsafe { S::F32::load_bf16(from) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(value: S::F32, to: *mut Self) {
        // SAFETY: the caller's promise is the same.
        unsafe { value.store_bf16(to) }
    }
    #[inline(always)]
    unsafe fn load_partial<S: Simd>(from: *const Self, n: usize) -> S::F32 {
        let mut whole = [half::bf16::ZERO; MAX_LANES];
        // SAFETY: `n` values are readable and fit the array, which holds a whole register.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), n);
            S::F32::load_bf16(whole.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_partial<S: Simd>(value: S::F32, to: *mut Self, n: usize) {
        let mut whole = [half::bf16::ZERO; MAX_LANES];
        // SAFETY: the array holds a whole register; `n` values are writable at `to`.
        unsafe {
            value.store_bf16(whole.as_mut_ptr());
            std::ptr::copy_nonoverlapping(whole.as_ptr(), to, n);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod traced_tests;
