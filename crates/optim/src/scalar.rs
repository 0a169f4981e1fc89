//! A hyperparameter's value over the steps.

use rappel_schedule::Curve;

/// A number, or a curve over the steps: what every scalar hyperparameter takes.
///
/// ```
/// use rappel_optim::Scalar;
/// use rappel_schedule::linear_decay;
/// let fixed: Scalar = 0.1.into();
/// let falling: Scalar = (linear_decay(10) * 0.1).into();
/// assert_eq!((fixed.at(5), falling.at(5)), (0.1, 0.05));
/// ```
#[derive(Debug, Clone)]
pub enum Scalar {
    /// The same number at every step.
    Number(f64),
    /// A function of the step.
    Curve(Curve),
}

impl Scalar {
    /// The value at optimizer step `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        match self {
            Self::Number(value) => *value,
            Self::Curve(curve) => curve.at(step),
        }
    }

    /// Whether it is the number `value` and no curve: a technique may then leave out what the
    /// number switches off.
    pub fn is(&self, value: f64) -> bool {
        matches!(self, Self::Number(number) if *number == value)
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<Curve> for Scalar {
    fn from(curve: Curve) -> Self {
        Self::Curve(curve)
    }
}
