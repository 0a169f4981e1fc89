//! Wrappers of a program's own.

use std::fmt;

use rappel_tensor::{Real, Update, apply};

use crate::context::StepContext;

/// What a program puts around a rule, element by element.
///
/// ```
/// use rappel_optim::rule::{Real, StepContext, Wrapper};
/// use rappel_optim::{AdamW, ParamGroup};
///
/// /// Adds `0.01 p^3` to the gradient.
/// #[derive(Debug, Clone)]
/// struct Quartic;
///
/// impl Wrapper for Quartic {
///     fn before<R: Real>(&self, _: &StepContext) -> impl Fn(R, R) -> (R, R) {
///         let weight = R::of(0.01);
///         #[inline(always)]
///         move |p, g| (p, weight * p * p * p + g)
///     }
/// }
///
/// let group = ParamGroup::from(AdamW::default()).wrapper(Quartic);
/// ```
pub trait Wrapper: fmt::Debug + Clone + Send + Sync + 'static {
    /// What the rule sees, from parameter and gradient. The closure must be `#[inline(always)]`.
    fn before<R: Real>(&self, _t: &StepContext) -> impl Fn(R, R) -> (R, R) {
        #[inline(always)]
        |p, g| (p, g)
    }

    /// What becomes of a parameter, from itself before the step, the gradient that the rule saw and what the
    /// rule made of the parameter. The closure must be `#[inline(always)]`.
    fn after<R: Real>(&self, _t: &StepContext) -> impl Fn(R, R, R) -> R {
        #[inline(always)]
        |_, _, new| new
    }
}

/// A [`Wrapper`] as wrappers are kept.
pub trait OwnWrapper: fmt::Debug + Send + Sync {
    /// [`Wrapper::before`] in single precision.
    fn before_f32(&self, t: &StepContext, params: &mut [f32], grads: &mut [f32]);
    /// [`Wrapper::before`] in double precision.
    fn before_f64(&self, t: &StepContext, params: &mut [f64], grads: &mut [f64]);
    /// [`Wrapper::after`] in single precision; `new` is changed.
    fn after_f32(&self, t: &StepContext, params: &mut [f32], grads: &[f32], new: &mut [f32]);
    /// [`Wrapper::after`] in double precision; `new` is changed.
    fn after_f64(&self, t: &StepContext, params: &mut [f64], grads: &[f64], new: &mut [f64]);
}

impl<W: Wrapper> OwnWrapper for W {
    fn before_f32(&self, t: &StepContext, params: &mut [f32], grads: &mut [f32]) {
        let unread = params.to_vec();
        apply(&Before(self, t), params, &unread, [grads]);
    }

    fn before_f64(&self, t: &StepContext, params: &mut [f64], grads: &mut [f64]) {
        let unread = params.to_vec();
        apply(&Before(self, t), params, &unread, [grads]);
    }

    fn after_f32(&self, t: &StepContext, params: &mut [f32], grads: &[f32], new: &mut [f32]) {
        apply(&After(self, t), params, grads, [new]);
    }

    fn after_f64(&self, t: &StepContext, params: &mut [f64], grads: &[f64], new: &mut [f64]) {
        apply(&After(self, t), params, grads, [new]);
    }
}

struct Before<'a, W>(&'a W, &'a StepContext);

impl<W: Wrapper> Update<1> for Before<'_, W> {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let before = self.0.before::<R>(self.1);
        #[inline(always)]
        move |p, _, [g]| {
            let (p, g) = before(p, g);
            (p, [g])
        }
    }
}

struct After<'a, W>(&'a W, &'a StepContext);

impl<W: Wrapper> Update<1> for After<'_, W> {
    const WRITES_PARAMS: bool = false;

    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let after = self.0.after::<R>(self.1);
        #[inline(always)]
        move |old, g, [new]| (old, [after(old, g, new)])
    }
}
