//! Transcendental functions on `f32` lanes, from range reduction and polynomials.
//!
//! The coefficients are least-maximum fits on the reduced interval; each function says the error it
//! was measured to have over its whole range. Double-precision lanes call the standard library one
//! lane at a time instead: they serve tests and convex problems, where exactness is worth more.

use super::Lanes32;

/// `exp(x)`, within 2 units in the last place; 0 below -87.33 and infinity above 88.72.
#[inline(always)]
pub(super) fn exp<L: Lanes32>(x: L) -> L {
    let n = (x * L::of(std::f64::consts::LOG2_E)).round();
    // ln 2 in two parts, so that the remainder keeps its low bits.
    let r = n.mul_add(L::of(-0.693_359_375), x);
    let r = n.mul_add(L::of(2.121_944_400_546_905_8e-4), r);
    let mut p = L::of(1.987_569_15e-4);
    for c in [1.398_199_95e-3, 8.333_451_9e-3, 4.166_579_6e-2, 1.666_666_55e-1, 0.5] {
        p = p.mul_add(r, L::of(c));
    }
    let y = p.mul_add(r * r, r) + L::of(1.0);
    // Halves of the exponent, so that neither power leaves the normal range.
    let low = (n * L::of(0.5)).round();
    let limited = |e: L| e.max(L::of(-126.0)).min(L::of(127.0)).exp2_integral();
    let y = y * limited(low) * limited(n - low);
    let y = L::select(x.lt(L::of(-87.336_55)), L::of(0.0), y);
    let y = L::select(L::of(88.722_84).lt(x), L::of(f64::INFINITY), y);
    L::select(x.eq(x), y, x)
}

/// `ln(x)`, within 2 units in the last place for normal numbers.
#[inline(always)]
pub(super) fn ln<L: Lanes32>(x: L) -> L {
    let tiny = x.lt(L::of(1.175_494_4e-38));
    let scaled = L::select(tiny, x * L::of(33_554_432.0), x);
    let (m, e) = scaled.split_exponent();
    let e = L::select(tiny, e - L::of(25.0), e);
    let f = m - L::of(1.0);
    let mut p = L::of(7.037_683_6e-2);
    for c in [
        -1.151_461_03e-1,
        1.167_699_87e-1,
        -1.242_014_08e-1,
        1.424_932_28e-1,
        -1.666_805_77e-1,
        2.000_071_48e-1,
        -2.499_999_4e-1,
        3.333_333_1e-1,
    ] {
        p = p.mul_add(f, L::of(c));
    }
    let z = f * f;
    let y = p * f * z;
    let y = e.mul_add(L::of(-2.121_944_400_546_905_8e-4), y);
    let y = L::of(-0.5).mul_add(z, y);
    let y = e.mul_add(L::of(0.693_359_375), f + y);
    let zero = L::of(0.0);
    let y = L::select(x.eq(zero), L::of(f64::NEG_INFINITY), y);
    let y = L::select(x.lt(zero), L::of(f64::NAN), y);
    let y = L::select(x.eq(L::of(f64::INFINITY)), x, y);
    L::select(x.eq(x), y, x)
}

/// `tanh(x)`, within 3 units in the last place: an odd polynomial near zero, elsewhere from `exp`.
#[inline(always)]
pub(super) fn tanh<L: Lanes32>(x: L) -> L {
    let a = x.abs();
    let z = x * x;
    let mut p = L::of(-5.704_988_72e-3);
    for c in [2.063_908_88e-2, -5.373_971_55e-2, 1.333_144_22e-1, -3.333_328_2e-1] {
        p = p.mul_add(z, L::of(c));
    }
    let small = (p * z).mul_add(x, x);
    let e = exp(a.min(L::of(20.0)) * L::of(2.0));
    let large = L::of(1.0) - L::of(2.0) / (e + L::of(1.0));
    let large = L::select(x.lt(L::of(0.0)), -large, large);
    let y = L::select(a.lt(L::of(0.625)), small, large);
    L::select(x.eq(x), y, x)
}

/// `erf(x)`, absolute error below 3e-7: an odd polynomial near zero, elsewhere one minus a
/// polynomial in `1/(1 + a|x|)` times `exp(-x^2)` (Abramowitz and Stegun 7.1.26 in its longer form).
#[inline(always)]
pub(super) fn erf<L: Lanes32>(x: L) -> L {
    let a = x.abs();
    let z = x * x;
    let mut p = L::of(7.882_505_13e-5);
    for c in [
        -8.018_863_48e-4,
        5.189_313_74e-3,
        -2.685_433_03e-2,
        1.128_359_75e-1,
        -3.761_262_69e-1,
        std::f64::consts::FRAC_2_SQRT_PI,
    ] {
        p = p.mul_add(z, L::of(c));
    }
    let small = p * x;
    let t = L::of(1.0) / L::of(0.327_591_1).mul_add(a, L::of(1.0));
    let mut q = L::of(1.061_405_429);
    for c in [-1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592] {
        q = q.mul_add(t, L::of(c));
    }
    let large = L::of(1.0) - q * t * exp(-z);
    let large = L::select(x.lt(L::of(0.0)), -large, large);
    let y = L::select(a.lt(L::of(1.0)), small, large);
    L::select(x.eq(x), y, x)
}
