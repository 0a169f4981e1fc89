//! Initial values.

use crate::dtype::Element;
use crate::random::Key;

/// How a parameter begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Every element this value.
    Constant(f64),
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Uniform in `[-bound, bound)`: PyTorch's `Linear` uses `1 / sqrt(inputs)`.
    Uniform {
        /// The largest magnitude.
        bound: f64,
    },
}

impl Init {
    /// All zeros.
    pub const ZEROS: Self = Self::Constant(0.0);
    /// All ones.
    pub const ONES: Self = Self::Constant(1.0);

    pub(super) fn fill<T: Element>(self, values: &mut [T], key: Key) {
        match self {
            Self::Constant(value) => values.fill(T::from_f64(value)),
            Self::Normal { std } => key.fill_normal(values, 0.0, std),
            Self::Uniform { bound } => key.fill_uniform(values, -bound, bound),
        }
    }
}
