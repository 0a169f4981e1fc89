//! The value type of schedules and its combinators.

use std::fmt;
use std::ops::Mul;
use std::sync::Arc;

use crate::combine::{Floor, Function, Product, Scaled, Then};
use crate::constant;

/// A pure function of the step.
pub trait Schedule: Send + Sync + fmt::Debug {
    /// The value at optimizer step `step`, counted from 0.
    fn at(&self, step: u64) -> f64;

    /// How many steps it lasts; `None` if it never ends.
    ///
    /// From this step on the value stays the same or has no meaning of its own: it is where a
    /// following piece takes over.
    fn length(&self) -> Option<u64>;
}

/// A shared schedule, cheap to clone, built from pieces and combinators.
///
/// Any scalar hyperparameter takes one; a plain `f64` converts into the constant curve.
///
/// ```
/// use rappel_schedule::{Curve, linear_decay};
/// let weight_decay: Curve = 0.1.into();
/// assert_eq!(weight_decay.at(7), 0.1);
/// assert_eq!((linear_decay(4) * 0.1).at(2), 0.05);
/// ```
#[derive(Clone, Debug)]
pub struct Curve(Arc<dyn Schedule>);

impl Curve {
    /// The curve of a schedule of one's own.
    pub fn new(schedule: impl Schedule + 'static) -> Self {
        Self(Arc::new(schedule))
    }

    /// The curve of a function of the step; `length` as in [`Schedule::length`].
    ///
    /// The function must be pure: a resumed run asks it again.
    ///
    /// ```
    /// use rappel_schedule::Curve;
    /// let inverse_sqrt = Curve::from_fn(None, |step| 1.0 / ((step + 1) as f64).sqrt());
    /// assert_eq!(inverse_sqrt.at(3), 0.5);
    /// ```
    pub fn from_fn(
        length: Option<u64>,
        value: impl Fn(u64) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self::new(Function { length, value })
    }

    /// The value at optimizer step `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        self.0.at(step)
    }

    /// How many steps the curve lasts; `None` if it never ends.
    pub fn length(&self) -> Option<u64> {
        self.0.length()
    }

    /// This curve while it lasts, then `next`, whose steps count from there.
    ///
    /// # Panics
    /// If this curve never ends, for `next` would never come; [`Curve::lasting`] ends a curve.
    #[must_use]
    #[track_caller]
    pub fn then(self, next: impl Into<Self>) -> Self {
        let Some(switch) = self.length() else {
            panic!("then: the first curve never ends, so the second never comes: {self:?}");
        };
        Self::new(Then { first: self, switch, second: next.into() })
    }

    /// This curve, said to last `steps` steps.
    ///
    /// ```
    /// use rappel_schedule::{constant, linear_decay};
    /// let trapezoid = constant(1.0).lasting(10).then(linear_decay(4));
    /// assert_eq!((trapezoid.at(9), trapezoid.at(12), trapezoid.at(99)), (1.0, 0.5, 0.0));
    /// ```
    #[must_use]
    pub fn lasting(self, steps: u64) -> Self {
        Self::from_fn(Some(steps), move |step| self.at(step))
    }

    /// `floor + (1 - floor) * value`: what was 1 stays 1, what was 0 becomes `floor`.
    ///
    /// This is `min_lr_rate` of Hugging Face's `cosine_with_min_lr`; it rescales, it does not clip.
    #[must_use]
    pub fn floor(self, floor: f64) -> Self {
        Self::new(Floor { curve: self, floor })
    }

    /// `min(max(value, min), max)`.
    ///
    /// # Panics
    /// If `min` is above `max`, or one is NaN.
    ///
    /// ```
    /// use rappel_schedule::linear_decay;
    /// let line = linear_decay(4).clamp(0.3, 0.8);
    /// assert_eq!([line.at(0), line.at(2), line.at(4)], [0.8, 0.5, 0.3]);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn clamp(self, min: f64, max: f64) -> Self {
        assert!(min <= max, "clamp: from {min} to {max}");
        Self::from_fn(self.length(), move |step| self.at(step).clamp(min, max))
    }

    /// This curve while it lasts, then again from its start, without end.
    ///
    /// # Panics
    /// If this curve never ends, or lasts no step; [`Curve::lasting`] ends a curve.
    ///
    /// ```
    /// use rappel_schedule::linear_decay;
    /// let saw = linear_decay(4).restarted();
    /// assert_eq!([saw.at(3), saw.at(4), saw.at(9)], [0.25, 1.0, 0.75]);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn restarted(self) -> Self {
        let Some(round) = self.length().filter(|steps| *steps > 0) else {
            panic!("restarted: the curve never ends, or at once: {self:?}");
        };
        Self::from_fn(None, move |step| self.at(step % round))
    }

    /// `factor * value`, also written `curve * factor`.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self::new(Scaled { curve: self, factor })
    }
}

impl From<f64> for Curve {
    fn from(value: f64) -> Self {
        constant(value)
    }
}

impl Mul<f64> for Curve {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        self.scale(factor)
    }
}

impl Mul<Curve> for f64 {
    type Output = Curve;
    fn mul(self, curve: Curve) -> Curve {
        curve.scale(self)
    }
}

/// The product at each step; it lasts until both have ended, counting no curve that never ends.
impl Mul for Curve {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::new(Product { left: self, right: other })
    }
}
