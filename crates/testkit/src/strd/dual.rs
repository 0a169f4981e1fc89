//! Numbers that carry their derivatives.
#![allow(clippy::suspicious_arithmetic_impl, reason = "rules of derivatives mix operations")]

use std::ops::{Add, Div, Mul, Neg, Sub};

/// The most parameters that a problem has.
pub(super) const MOST: usize = 9;

/// A value, and its derivative by each parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dual {
    pub value: f64,
    pub slopes: [f64; MOST],
}

impl Dual {
    pub fn constant(value: f64) -> Self {
        Self { value, slopes: [0.0; MOST] }
    }

    pub fn parameter(value: f64, index: usize) -> Self {
        let mut dual = Self::constant(value);
        dual.slopes[index] = 1.0;
        dual
    }

    /// `f` of it, where `f` has that value and that derivative.
    fn chain(self, value: f64, slope: f64) -> Self {
        Self { value, slopes: self.slopes.map(|d| d * slope) }
    }

    pub fn exp(self) -> Self {
        self.chain(self.value.exp(), self.value.exp())
    }

    pub fn ln(self) -> Self {
        self.chain(self.value.ln(), self.value.recip())
    }

    pub fn sin(self) -> Self {
        self.chain(self.value.sin(), self.value.cos())
    }

    pub fn cos(self) -> Self {
        self.chain(self.value.cos(), -self.value.sin())
    }

    pub fn atan(self) -> Self {
        self.chain(self.value.atan(), (1.0 + self.value * self.value).recip())
    }

    pub fn square(self) -> Self {
        self * self
    }

    pub fn powf(self, p: f64) -> Self {
        self.chain(self.value.powf(p), p * self.value.powf(p - 1.0))
    }

    /// Itself, above 0, to the power of another.
    pub fn pow(self, p: Self) -> Self {
        (self.ln() * p).exp()
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let slopes = std::array::from_fn(|i| self.slopes[i] + other.slopes[i]);
        Self { value: self.value + other.value, slopes }
    }
}

impl Neg for Dual {
    type Output = Self;
    fn neg(self) -> Self {
        self.chain(-self.value, -1.0)
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let (a, b) = (self.value, other.value);
        let slopes = std::array::from_fn(|i| self.slopes[i] * b + a * other.slopes[i]);
        Self { value: a * b, slopes }
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        self * other.chain(other.value.recip(), -(other.value * other.value).recip())
    }
}
