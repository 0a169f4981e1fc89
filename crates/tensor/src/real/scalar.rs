//! One number at a time: `f32` and `f64` themselves, and the set of lanes for any machine.

use super::{Lanes, Lanes32, Real, Simd};

/// Portable lanes of one number each.
pub enum Plain {}

impl Simd for Plain {
    type F32 = f32;
    type F64 = f64;
}

macro_rules! scalar {
    ($t:ident, $erf:path) => {
        impl Real for $t {
            type Mask = bool;
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                $t::mul_add(self, a, b)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if self < other { self } else { other }
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                if self > other { self } else { other }
            }
            #[inline(always)]
            fn round(self) -> Self {
                $t::round_ties_even(self)
            }
            #[inline(always)]
            fn lt(self, other: Self) -> bool {
                self < other
            }
            #[inline(always)]
            fn le(self, other: Self) -> bool {
                self <= other
            }
            #[inline(always)]
            fn eq(self, other: Self) -> bool {
                self == other
            }
            #[inline(always)]
            fn select(mask: bool, yes: Self, no: Self) -> Self {
                if mask { yes } else { no }
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $t::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $t::ln(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $t::tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                $t::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                $t::cos(self)
            }
            #[inline(always)]
            fn powf(self, exponent: Self) -> Self {
                $t::powf(self, exponent)
            }
        }

        impl Lanes for $t {
            type Scalar = $t;
            const LANES: usize = 1;
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: the caller promises one readable value.
                unsafe { from.read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
                // SAFETY: the caller promises one writable value.
                unsafe { to.write_unaligned(self) }
            }
            #[inline(always)]
            unsafe fn load_partial(_: *const $t, _: usize) -> Self {
                0.0
            }
            #[inline(always)]
            unsafe fn store_partial(self, _: *mut $t, _: usize) {}
            #[inline(always)]
            fn reduce_sum(self) -> $t {
                self
            }
            #[inline(always)]
            fn reduce_max(self) -> $t {
                self
            }
        }
    };
}
scalar!(f64, libm::erf);
scalar!(f32, libm::erff);

impl Lanes32 for f32 {
    #[inline(always)]
    unsafe fn load_bf16(from: *const half::bf16) -> Self {
        // SAFETY: the caller promises one readable value.
        unsafe { from.read_unaligned().to_f32() }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut half::bf16) {
        // SAFETY: the caller promises one writable value.
        unsafe { to.write_unaligned(half::bf16::from_f32(self)) }
    }
    #[inline(always)]
    fn exp2_integral(self) -> Self {
        f32::from_bits((((self as i32) + 127) << 23) as u32)
    }
    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        let bits = self.to_bits();
        let up = u32::from((bits & 0x007f_ffff) > 0x0035_04f3);
        let exponent = (bits >> 23) as i32 - 127 + up as i32;
        let mantissa = f32::from_bits((bits & 0x007f_ffff) | ((127 - up) << 23));
        (mantissa, exponent as f32)
    }
    #[inline(always)]
    fn bits(self) -> Self {
        self.to_bits() as f32
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 8]) -> Self {
        table[(self.to_bits() & 7) as usize]
    }
}
