//! How exactly matrix products multiply.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

thread_local! {
    static CURRENT: Cell<MatmulPrecision> = const { Cell::new(MatmulPrecision::Highest) };
}

/// What single-precision operands of a matrix product are rounded to, under the names of PyTorch's
/// `torch.set_float32_matmul_precision`. Sums are formed in single precision whatever it is, and all that
/// is not a matrix product stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatmulPrecision {
    /// Operands are taken as they are.
    #[default]
    Highest,
    /// Operands may be rounded to TF32 where a device multiplies it; processors do not, so that this is
    /// the same as `Highest` on them.
    High,
    /// Operands are rounded to bfloat16, nearest even.
    Medium,
}

impl MatmulPrecision {
    /// Every name, in the order of the values.
    pub const NAMES: [&str; 3] = ["highest", "high", "medium"];
}

impl fmt::Display for MatmulPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES[*self as usize])
    }
}

impl FromStr for MatmulPrecision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [Self::Highest, Self::High, Self::Medium];
        let found = known.into_iter().find(|precision| precision.to_string() == name);
        found.ok_or_else(|| format!("expected one of {}, got `{name}`", Self::NAMES.join(", ")))
    }
}

/// The precision of products that this thread starts now.
pub fn matmul_precision() -> MatmulPrecision {
    CURRENT.get()
}

/// Runs `f` with matrix products of `precision`, as PyTorch's `autocast` does for a block.
///
/// An operation remembers it for its backward pass, so that only forward passes stand inside. What other
/// threads start is not touched; the threads that share a product are.
///
/// ```
/// use rappel_tensor::{MatmulPrecision, Tensor, with_matmul_precision};
/// let a = Tensor::from_slice(&[1.0_f32 + 1.0 / 512.0], [1, 1]);
/// let square = || a.matmul(&a).item();
/// assert_eq!(with_matmul_precision(MatmulPrecision::Medium, square), 1.0);
/// assert!(square() > 1.0);
/// ```
pub fn with_matmul_precision<R>(precision: MatmulPrecision, f: impl FnOnce() -> R) -> R {
    struct Restore(MatmulPrecision);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(precision));
    f()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_the_precision_returns_after_a_panic() {
        for name in MatmulPrecision::NAMES {
            assert_eq!(name.parse::<MatmulPrecision>().unwrap().to_string(), name);
        }
        assert!("low".parse::<MatmulPrecision>().unwrap_err().contains("highest, high, medium"));
        let inside = || with_matmul_precision(MatmulPrecision::Medium, || panic!("on purpose"));
        assert!(std::panic::catch_unwind(inside).is_err());
        assert_eq!(matmul_precision(), MatmulPrecision::Highest);
    }
}
