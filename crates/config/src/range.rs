//! The interval a float may lie in.

use std::fmt;

/// An interval of floats, each end open or closed.
///
/// NaN lies in no range. An infinity lies in a range only if that end is infinite *and* closed, so
/// ranges exclude infinities unless [`Range::or_infinite`] was asked for.
///
/// ```
/// use rappel_config::Range;
/// let range = Range::from(0.0).below(1.0);
/// assert!(range.contains(0.0) && !range.contains(1.0) && !range.contains(f64::NAN));
/// assert_eq!(range.to_string(), "[0, 1)");
/// assert!(!Range::above(0.0).contains(f64::INFINITY));
/// assert!(Range::above(0.0).or_infinite().contains(f64::INFINITY));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    min: f64,
    max: f64,
    min_open: bool,
    max_open: bool,
}

impl Range {
    /// Every finite float: `(-inf, inf)`.
    pub const FINITE: Self =
        Self { min: f64::NEG_INFINITY, max: f64::INFINITY, min_open: true, max_open: true };

    /// `[min, inf)`.
    pub const fn from(min: f64) -> Self {
        Self { min, min_open: false, ..Self::FINITE }
    }

    /// `(min, inf)`.
    pub const fn above(min: f64) -> Self {
        Self { min, ..Self::FINITE }
    }

    /// The same range, ending at `max`, inclusive.
    #[must_use]
    pub const fn to(self, max: f64) -> Self {
        Self { max, max_open: false, ..self }
    }

    /// The same range, ending at `max`, exclusive.
    #[must_use]
    pub const fn below(self, max: f64) -> Self {
        Self { max, max_open: true, ..self }
    }

    /// The same range with its infinite ends closed, so that it contains the infinity itself.
    #[must_use]
    pub const fn or_infinite(self) -> Self {
        Self {
            min_open: self.min_open && self.min != f64::NEG_INFINITY,
            max_open: self.max_open && self.max != f64::INFINITY,
            ..self
        }
    }

    /// The least and the greatest integer in the range.
    pub(crate) const fn integers(self) -> [i64; 2] {
        // Casts cut the fraction off, and make infinite ends those of `i64`.
        let (min, max) = (self.min as i64, self.max as i64);
        let above = (min as f64) < self.min || self.min_open && min as f64 == self.min;
        let below = max as f64 > self.max || self.max_open && max as f64 == self.max;
        [if above { min + 1 } else { min }, if below { max - 1 } else { max }]
    }

    /// Whether `value` lies in the range; false for NaN.
    pub fn contains(&self, value: f64) -> bool {
        let over = if self.min_open { value > self.min } else { value >= self.min };
        let under = if self.max_open { value < self.max } else { value <= self.max };
        over && under
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.min_open { '(' } else { '[' };
        let close = if self.max_open { ')' } else { ']' };
        write!(f, "{open}{}, {}{close}", self.min, self.max)
    }
}
