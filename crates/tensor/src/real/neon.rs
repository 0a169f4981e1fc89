//! 128-bit registers of ARM, which every 64-bit ARM processor has.

#[allow(clippy::wildcard_imports)] // some sixty intrinsics
use std::arch::aarch64::*;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::macros::{each, fold, lanes_ops, mask_ops};
use super::{Lanes, Lanes32, Real, Simd, math};

/// The set.
pub enum Neon {}

impl Simd for Neon {
    type F32 = F32;
    type F64 = F64;
}

/// 4 lanes of `f32`.
#[derive(Clone, Copy)]
pub struct F32(float32x4_t);

/// All bits of a lane set where the comparison holds.
#[derive(Clone, Copy)]
pub struct MaskF32(uint32x4_t);

mask_ops!(MaskF32, vandq_u32, vorrq_u32, veorq_u32, vdupq_n_u32(u32::MAX));
lanes_ops!(F32, vaddq_f32, vsubq_f32, vmulq_f32, vdivq_f32);

impl Real for F32 {
    type Mask = MaskF32;
    #[inline(always)]
    fn of(x: f64) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vdupq_n_f32(x as f32)) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vfmaq_f32(b.0, self.0, a.0)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vsqrtq_f32(self.0)) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vabsq_f32(self.0)) }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::select(self.lt(other), self, other)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::select(other.lt(self), self, other)
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vrndnq_f32(self.0)) }
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { MaskF32(vcltq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    fn le(self, other: Self) -> Self::Mask {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { MaskF32(vcleq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { MaskF32(vceqq_f32(self.0, other.0)) }
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vbslq_f32(mask.0, yes.0, no.0)) }
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
    fn to_array(self) -> [f32; 4] {
        let mut array = [0.0; 4];
        // SAFETY: the array holds a whole register.
        unsafe { self.store(array.as_mut_ptr()) };
        array
    }
}

impl Lanes for F32 {
    type Scalar = f32;
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises a readable register.
        unsafe { Self(vld1q_f32(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises a writable register.
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, n: usize) -> Self {
        let mut whole = [0.0; 4];
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

/// 2 lanes of `f64`.
#[derive(Clone, Copy)]
pub struct F64(float64x2_t);

/// All bits of a lane set where the comparison holds.
#[derive(Clone, Copy)]
pub struct MaskF64(uint64x2_t);

mask_ops!(MaskF64, vandq_u64, vorrq_u64, veorq_u64, vdupq_n_u64(u64::MAX));
lanes_ops!(F64, vaddq_f64, vsubq_f64, vmulq_f64, vdivq_f64);

impl Real for F64 {
    type Mask = MaskF64;
    #[inline(always)]
    fn of(x: f64) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vdupq_n_f64(x)) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vfmaq_f64(b.0, self.0, a.0)) }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vsqrtq_f64(self.0)) }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vabsq_f64(self.0)) }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::select(self.lt(other), self, other)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::select(other.lt(self), self, other)
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vrndnq_f64(self.0)) }
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { MaskF64(vcltq_f64(self.0, other.0)) }
    }
    #[inline(always)]
    fn le(self, other: Self) -> Self::Mask {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { MaskF64(vcleq_f64(self.0, other.0)) }
    }
    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { MaskF64(vceqq_f64(self.0, other.0)) }
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe { Self(vbslq_f64(mask.0, yes.0, no.0)) }
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
    fn to_array(self) -> [f64; 2] {
        let mut array = [0.0; 2];
        // SAFETY: the array holds a whole register.
        unsafe { self.store(array.as_mut_ptr()) };
        array
    }
}

impl Lanes for F64 {
    type Scalar = f64;
    const LANES: usize = 2;
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        // SAFETY: the caller promises a readable register.
        unsafe { Self(vld1q_f64(from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        // SAFETY: the caller promises a writable register.
        unsafe { vst1q_f64(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f64, n: usize) -> Self {
        let mut whole = [0.0; 2];
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
        // SAFETY: the caller promises 4 readable values.
        unsafe {
            let bits = vshll_n_u16::<16>(vld1_u16(from.cast()));
            Self(vreinterpretq_f32_u32(bits))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut half::bf16) {
        let narrow = self.to_array().map(half::bf16::from_f32);
        // SAFETY: the caller promises 4 writable values.
        unsafe { std::ptr::copy_nonoverlapping(narrow.as_ptr(), to, 4) }
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        // SAFETY: every 64-bit ARM processor has these instructions.
        unsafe {
            let e = vaddq_s32(vcvtnq_s32_f32(self.0), vdupq_n_s32(127));
            Self(vreinterpretq_f32_s32(vshlq_n_s32::<23>(e)))
        }
    }
    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        let parts = self.to_array().map(f32::split_exponent);
        let (m, e) = (parts.map(|part| part.0), parts.map(|part| part.1));
        // SAFETY: both arrays hold a whole register.
        unsafe { (Self::load(m.as_ptr()), Self::load(e.as_ptr())) }
    }
    #[inline(always)]
    fn bits(self) -> Self {
        // SAFETY: see the module's first lines.
        unsafe { Self(vcvtq_f32_u32(vreinterpretq_u32_f32(self.0))) }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 8]) -> Self {
        let found = self.to_array().map(|lane| lane.lookup(table));
        // SAFETY: the array holds a whole register.
        unsafe { Self::load(found.as_ptr()) }
    }
}
