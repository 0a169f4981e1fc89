//! The value type of schedules and its combinators.

use std::fmt;
use std::ops::Mul;
use std::sync::Arc;

use crate::combine::{Floor, Function, Product, Scaled, Then};

/// A pure function of the step: what an own schedule implements.
pub trait ScheduleFn: Send + Sync + fmt::Debug {
    /// The value at optimizer step `step`, counted from 0.
    fn at(&self, step: u64) -> f64;

    /// How many steps it lasts; `None` if it never ends.
    ///
    /// From this step on the value stays the same or has no meaning of its own: it is where a
    /// following piece takes over.
    fn length(&self) -> Option<u64>;
}

/// A number, or a function of the step: the type of every hyperparameter that may change during a run.
///
/// A plain `f64` converts into it; functions are built from pieces and combinators. Cheap to clone.
///
/// ```
/// use rappel_schedule::{Schedule, linear_decay};
/// let fixed: Schedule = 0.1.into();
/// let falling = linear_decay(4) * 0.1;
/// assert_eq!((fixed.at(2), falling.at(2)), (0.1, 0.05));
/// ```
#[derive(Clone, Debug)]
pub struct Schedule(Value);

#[derive(Clone, Debug)]
enum Value {
    /// The same at every step.
    Number(f64),
    Function(Arc<dyn ScheduleFn>),
}

impl Schedule {
    /// A schedule that a type of one's own computes.
    pub fn new(schedule: impl ScheduleFn + 'static) -> Self {
        Self(Value::Function(Arc::new(schedule)))
    }

    /// A schedule that a closure computes; `length` as in [`ScheduleFn::length`].
    ///
    /// The function must be pure: a resumed run asks it again.
    ///
    /// ```
    /// use rappel_schedule::Schedule;
    /// let inverse_sqrt = Schedule::from_fn(None, |step| 1.0 / ((step + 1) as f64).sqrt());
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
        match &self.0 {
            Value::Number(value) => *value,
            Value::Function(function) => function.at(step),
        }
    }

    /// How many steps the curve lasts; `None` if it never ends.
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Value::Number(_) => None,
            Value::Function(function) => function.length(),
        }
    }

    /// The number, where it is one; `None` for functions of the step, constant ones too.
    pub fn number(&self) -> Option<f64> {
        match self.0 {
            Value::Number(value) => Some(value),
            Value::Function(_) => None,
        }
    }

    /// Whether it is the number `value` and no function: a technique may then leave out what the
    /// number switches off.
    pub fn is(&self, value: f64) -> bool {
        self.number() == Some(value)
    }

    /// This curve while it lasts, then `next`, whose steps count from there.
    ///
    /// # Panics
    /// If this curve never ends, for `next` would never come; [`Schedule::lasting`] ends a curve.
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
    /// If this curve never ends, or lasts no step; [`Schedule::lasting`] ends a curve.
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

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Self(Value::Number(value))
    }
}

impl Mul<f64> for Schedule {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        self.scale(factor)
    }
}

impl Mul<Schedule> for f64 {
    type Output = Schedule;
    fn mul(self, curve: Schedule) -> Schedule {
        curve.scale(self)
    }
}

/// The product at each step; it lasts until both have ended, counting no curve that never ends.
impl Mul for Schedule {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::new(Product { left: self, right: other })
    }
}
