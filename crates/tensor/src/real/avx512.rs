//! 512-bit registers with masks.
//!
//! Every intrinsic here is called in a function that is inlined into the one `dispatch` entered
//! after detecting the instruction set; that is why calling it is sound.

#[allow(clippy::wildcard_imports)] // some sixty intrinsics
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::macros::{each, fold, lanes_ops};
use super::{Lanes, Lanes32, Real, Simd, math};

/// The set.
pub enum Avx512 {}

impl Simd for Avx512 {
    type F32 = F32;
    type F64 = F64;
}

/// 16 lanes of `f32`.
#[derive(Clone, Copy)]
pub struct F32(__m512);

lanes_ops!(F32, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps);

impl Real for F32 {
    type Mask = __mmask16;
    #[inline(always)]
    fn of(x: f64) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_set1_ps(x as f32)) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_fmadd_ps(self.0, a.0, b.0)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_sqrt_ps(self.0)) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_abs_ps(self.0)) }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_min_ps(self.0, other.0)) }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_max_ps(self.0, other.0)) }
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_roundscale_ps::<0>(self.0)) }
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn le(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_mask_blend_ps(mask, no.0, yes.0)) }
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
    fn to_array(self) -> [f32; 16] {
        let mut array = [0.0; 16];
        // SAFETY: the array holds a whole register.
        unsafe { self.store(array.as_mut_ptr()) };
        array
    }
}

impl Lanes for F32 {
    type Scalar = f32;
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises a readable register; see the module's first lines.
        unsafe { Self(_mm512_loadu_ps(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises a writable register; see the module's first lines.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, n: usize) -> Self {
        let mask = ((1u32 << n) - 1) as __mmask16;
        // SAFETY: only the `n` masked lanes are read, which the caller promises; see the module.
        unsafe { Self(_mm512_maskz_loadu_ps(mask, from)) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, n: usize) {
        let mask = ((1u32 << n) - 1) as __mmask16;
        // SAFETY: only the `n` masked lanes are written, which the caller promises.
        unsafe { _mm512_mask_storeu_ps(to, mask, self.0) }
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

/// 8 lanes of `f64`.
#[derive(Clone, Copy)]
pub struct F64(__m512d);

lanes_ops!(F64, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_div_pd);

impl Real for F64 {
    type Mask = __mmask8;
    #[inline(always)]
    fn of(x: f64) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_set1_pd(x)) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_fmadd_pd(self.0, a.0, b.0)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_sqrt_pd(self.0)) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_abs_pd(self.0)) }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_min_pd(self.0, other.0)) }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_max_pd(self.0, other.0)) }
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_roundscale_pd::<0>(self.0)) }
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { _mm512_cmp_pd_mask::<_CMP_LT_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn le(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { _mm512_cmp_pd_mask::<_CMP_LE_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: see the module's first lines.
        unsafe { _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_mask_blend_pd(mask, no.0, yes.0)) }
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
    fn to_array(self) -> [f64; 8] {
        let mut array = [0.0; 8];
        // SAFETY: the array holds a whole register.
        unsafe { self.store(array.as_mut_ptr()) };
        array
    }
}

impl Lanes for F64 {
    type Scalar = f64;
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        // SAFETY: the caller promises a readable register; see the module's first lines.
        unsafe { Self(_mm512_loadu_pd(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        // SAFETY: the caller promises a writable register; see the module's first lines.
        unsafe { _mm512_storeu_pd(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f64, n: usize) -> Self {
        let mask = ((1u32 << n) - 1) as __mmask8;
        // SAFETY: only the `n` masked lanes are read, which the caller promises; see the module.
        unsafe { Self(_mm512_maskz_loadu_pd(mask, from)) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f64, n: usize) {
        let mask = ((1u32 << n) - 1) as __mmask8;
        // SAFETY: only the `n` masked lanes are written, which the caller promises.
        unsafe { _mm512_mask_storeu_pd(to, mask, self.0) }
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
        // SAFETY: the caller promises 16 readable values; see the module's first lines.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut half::bf16) {
        // SAFETY: the caller promises 16 writable values; see the module's first lines.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            // Half a unit less one, plus the lowest kept bit: ties go to even.
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, bias));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let quiet = _mm512_or_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(0x40));
            let kept = _mm512_mask_blend_epi32(nan, rounded, quiet);
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(kept));
        }
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe {
            let e = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(e)))
        }
    }
    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        // SAFETY: see the module's first lines.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let fraction = _mm512_and_si512(bits, _mm512_set1_epi32(0x007f_ffff));
            // Mantissas above sqrt(2) move down by one exponent.
            let up = _mm512_cmpgt_epi32_mask(fraction, _mm512_set1_epi32(0x0035_04f3));
            let one = _mm512_maskz_set1_epi32(up, 1);
            let e = _mm512_sub_epi32(_mm512_srli_epi32::<23>(bits), _mm512_set1_epi32(127));
            let bias = _mm512_sub_epi32(_mm512_set1_epi32(127), one);
            let m = _mm512_or_si512(fraction, _mm512_slli_epi32::<23>(bias));
            let e = _mm512_cvtepi32_ps(_mm512_add_epi32(e, one));
            (Self(_mm512_castsi512_ps(m)), Self(e))
        }
    }
    #[inline(always)]
    fn bits(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(_mm512_cvtepi32_ps(_mm512_castps_si512(self.0))) }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 8]) -> Self {
        // SAFETY: see the module's first lines; the table is half a register, and stands there twice.
        unsafe {
            let table = _mm256_castps_pd(_mm256_loadu_ps(table.as_ptr()));
            let twice = _mm512_castpd_ps(_mm512_broadcast_f64x4(table));
            Self(_mm512_permutexvar_ps(_mm512_castps_si512(self.0), twice))
        }
    }
}
