//! 256-bit registers with fused multiply-add.
//!
//! Every intrinsic here is called in a function that is inlined into the one `dispatch` entered
//! after detecting the instruction set; that is why calling it is sound.

#[allow(clippy::wildcard_imports)] // some sixty intrinsics
use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::macros::{each, fold, lanes_ops, mask_ops};
use super::{Lanes, Lanes32, Real, Simd, math};

/// The set.
pub enum Avx2 {}

impl Simd for Avx2 {
    type F32 = F32;
    type F64 = F64;
}

/// 8 lanes of `f32`.
#[derive(Clone, Copy)]
pub struct F32(__m256);

/// All bits of a lane set where the comparison holds.
#[derive(Clone, Copy)]
pub struct MaskF32(__m256);

mask_ops!(
    MaskF32,
    _mm256_and_ps,
    _mm256_or_ps,
    _mm256_xor_ps,
    _mm256_castsi256_ps(_mm256_set1_epi32(-1))
);
lanes_ops!(F32, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps);

impl Real for F32 {
    type Mask = MaskF32;
    #[inline(always)]
    fn of(x: f64) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_set1_ps(x as f32)) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_fmadd_ps(self.0, a.0, b.0)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_sqrt_ps(self.0)) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)) }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_min_ps(self.0, other.0)) }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_max_ps(self.0, other.0)) }
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe {
            Self(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0))
        }
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { MaskF32(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0)) }
    }
    #[inline(always)]
    fn le(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { MaskF32(_mm256_cmp_ps::<_CMP_LE_OQ>(self.0, other.0)) }
    }
    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { MaskF32(_mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, other.0)) }
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_blendv_ps(no.0, yes.0, mask.0)) }
    }
    #[inline(always)]
    fn exp(self) -> Self {
        math::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        math::ln(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        math::tanh(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        math::erf(self)
    }
    #[inline(always)]
    fn sin(self) -> Self {
        each!(self, f32::sin)
    }
    #[inline(always)]
    fn cos(self) -> Self {
        each!(self, f32::cos)
    }
    #[inline(always)]
    fn powf(self, exponent: Self) -> Self {
        let e = exponent.to_array();
        let mut i = 0;
        each!(self, |x: f32| {
            i += 1;
            x.powf(e[i - 1])
        })
    }
}

impl F32 {
    #[inline(always)]
    fn to_array(self) -> [f32; 8] {
        let mut array = [0.0; 8];
        // SAFETY: the array holds a whole register.
        unsafe { self.store(array.as_mut_ptr()) };
        array
    }
}

impl Lanes for F32 {
    type Scalar = f32;
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises a readable register; see the module's first lines.
        unsafe { Self(_mm256_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises a writable register; see the module's first lines.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, n: usize) -> Self {
        let mut whole = [0.0; 8];
        // SAFETY: `n` values are readable and fit the array, which holds a whole register.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), n);
            Self::load(whole.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, n: usize) {
        // SAFETY: the caller promises `n` writable values, fewer than the array holds.
        unsafe { std::ptr::copy_nonoverlapping(self.to_array().as_ptr(), to, n) }
    }
    #[inline(always)]
    fn reduce_sum(self) -> f32 {
        fold(self.to_array(), |a, b| a + b)
    }
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        fold(self.to_array(), |a, b| if a > b { a } else { b })
    }
}

/// 4 lanes of `f64`.
#[derive(Clone, Copy)]
pub struct F64(__m256d);

/// All bits of a lane set where the comparison holds.
#[derive(Clone, Copy)]
pub struct MaskF64(__m256d);

mask_ops!(
    MaskF64,
    _mm256_and_pd,
    _mm256_or_pd,
    _mm256_xor_pd,
    _mm256_castsi256_pd(_mm256_set1_epi32(-1))
);
lanes_ops!(F64, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_div_pd);

impl Real for F64 {
    type Mask = MaskF64;
    #[inline(always)]
    fn of(x: f64) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_set1_pd(x)) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_fmadd_pd(self.0, a.0, b.0)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_sqrt_pd(self.0)) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_andnot_pd(_mm256_set1_pd(-0.0), self.0)) }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_min_pd(self.0, other.0)) }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_max_pd(self.0, other.0)) }
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe {
            Self(_mm256_round_pd::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0))
        }
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { MaskF64(_mm256_cmp_pd::<_CMP_LT_OQ>(self.0, other.0)) }
    }
    #[inline(always)]
    fn le(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { MaskF64(_mm256_cmp_pd::<_CMP_LE_OQ>(self.0, other.0)) }
    }
    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { MaskF64(_mm256_cmp_pd::<_CMP_EQ_OQ>(self.0, other.0)) }
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_blendv_pd(no.0, yes.0, mask.0)) }
    }
    #[inline(always)]
    fn exp(self) -> Self {
        each!(self, f64::exp)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        each!(self, f64::ln)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        each!(self, f64::tanh)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        each!(self, libm::erf)
    }
    #[inline(always)]
    fn sin(self) -> Self {
        each!(self, f64::sin)
    }
    #[inline(always)]
    fn cos(self) -> Self {
        each!(self, f64::cos)
    }
    #[inline(always)]
    fn powf(self, exponent: Self) -> Self {
        let e = exponent.to_array();
        let mut i = 0;
        each!(self, |x: f64| {
            i += 1;
            x.powf(e[i - 1])
        })
    }
}

impl F64 {
    #[inline(always)]
    fn to_array(self) -> [f64; 4] {
        let mut array = [0.0; 4];
        // SAFETY: the array holds a whole register.
        unsafe { self.store(array.as_mut_ptr()) };
        array
    }
}

impl Lanes for F64 {
    type Scalar = f64;
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        // SAFETY: the caller promises a readable register; see the module's first lines.
        unsafe { Self(_mm256_loadu_pd(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        // SAFETY: the caller promises a writable register; see the module's first lines.
        unsafe { _mm256_storeu_pd(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f64, n: usize) -> Self {
        let mut whole = [0.0; 4];
        // SAFETY: `n` values are readable and fit the array, which holds a whole register.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), n);
            Self::load(whole.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f64, n: usize) {
        // SAFETY: the caller promises `n` writable values, fewer than the array holds.
        unsafe { std::ptr::copy_nonoverlapping(self.to_array().as_ptr(), to, n) }
    }
    #[inline(always)]
    fn reduce_sum(self) -> f64 {
        fold(self.to_array(), |a, b| a + b)
    }
    #[inline(always)]
    fn reduce_max(self) -> f64 {
        fold(self.to_array(), |a, b| if a > b { a } else { b })
    }
}

impl Lanes32 for F32 {
    #[inline(always)]
    unsafe fn load_bf16(from: *const half::bf16) -> Self {
        // SAFETY: the caller promises 8 readable values; see the module's first lines.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut half::bf16) {
        let narrow = self.to_array().map(half::bf16::from_f32);
        // SAFETY: the caller promises 8 writable values.
        unsafe { std::ptr::copy_nonoverlapping(narrow.as_ptr(), to, 8) }
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe {
            let e = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
            Self(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(e)))
        }
    }
    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        // SAFETY: see the module's first lines.
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let fraction = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
            // Mantissas above sqrt(2) move down by one exponent.
            let up = _mm256_cmpgt_epi32(fraction, _mm256_set1_epi32(0x0035_04f3));
            let one = _mm256_and_si256(up, _mm256_set1_epi32(1));
            let e = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
            let bias = _mm256_sub_epi32(_mm256_set1_epi32(127), one);
            let m = _mm256_or_si256(fraction, _mm256_slli_epi32::<23>(bias));
            let e = _mm256_cvtepi32_ps(_mm256_add_epi32(e, one));
            (Self(_mm256_castsi256_ps(m)), Self(e))
        }
    }
    #[inline(always)]
    fn bits(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm256_cvtepi32_ps(_mm256_castps_si256(self.0))) }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 8]) -> Self {
        // SAFETY: see the module's first lines; the table is a whole register.
        unsafe {
            let table = _mm256_loadu_ps(table.as_ptr());
            Self(_mm256_permutevar8x32_ps(table, _mm256_castps_si256(self.0)))
        }
    }
}
