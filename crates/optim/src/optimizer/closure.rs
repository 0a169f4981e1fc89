//! Steps that evaluate the loss themselves.

use rappel_tensor::{Grads, Params};

use super::core::{Optimizer, StepReport};
use super::objective::Objective;
use super::searching::Source;
use crate::error::OptimError;

/// An [`Objective`] of parameters and a closure.
struct Closure<'a, F> {
    params: &'a mut Params,
    evaluate: F,
}

impl<E, F> Objective for Closure<'_, F>
where
    E: From<OptimError>,
    F: FnMut(&Params) -> Result<(f64, Grads), E>,
{
    type Error = E;

    fn params_mut(&mut self) -> &mut Params {
        self.params
    }

    fn evaluate(&mut self) -> Result<(f64, Grads), E> {
        (self.evaluate)(self.params)
    }
}

impl Optimizer {
    /// A step that evaluates the loss itself, as often as its rule needs: L-BFGS many times,
    /// sharpness-aware steps twice, all others once.
    ///
    /// ```
    /// use rappel_optim::{Lbfgs, OptimError, Optimizer};
    /// use rappel_tensor::{DType, Init, Params};
    /// let mut params = Params::with_dtype(0, DType::F64);
    /// let w = params.scope("").add("w", [2], Init::ONES);
    /// let mut lbfgs = Optimizer::new(Lbfgs::default(), &params)?;
    /// lbfgs.step_closure(0, &mut params, |_| {
    ///     let loss = (w.tensor() * 3.0 - 1.0).square().sum();
    ///     Ok::<_, OptimError>((loss.item(), loss.backward()))
    /// })?;
    /// assert!((w.tensor().to_vec::<f64>()[0] - 1.0 / 3.0).abs() < 1e-6);
    /// # Ok::<(), OptimError>(())
    /// ```
    ///
    /// # Errors
    /// The closure's; those of [`step`](Optimizer::step); [`OptimError::NonFiniteLoss`]. Then
    /// parameters and state are unchanged.
    pub fn step_closure<E: From<OptimError>>(
        &mut self,
        step: u64,
        params: &mut Params,
        evaluate: impl FnMut(&Params) -> Result<(f64, Grads), E>,
    ) -> Result<StepReport, E> {
        self.descend(step, &mut Closure { params, evaluate })
    }

    /// [`step_closure`](Optimizer::step_closure) for parameters that the loss belongs together with.
    ///
    /// # Errors
    /// As [`step_closure`](Optimizer::step_closure).
    pub fn descend<O: Objective + ?Sized>(
        &mut self,
        step: u64,
        objective: &mut O,
    ) -> Result<StepReport, O::Error> {
        if self.searches() {
            let report = Source::of(objective, |source| self.search(step, source, 1.0))?;
            self.end_step(step, objective.params_mut())?;
            return Ok(report);
        }
        let (loss, mut grads) = objective.evaluate()?;
        self.check_loss(step, loss)?;
        if let Some(ascent) = self.ascend(step, objective.params_mut(), &grads)? {
            drop(grads);
            let evaluated = objective.evaluate();
            ascent.undo(objective.params_mut())?;
            let (above, grads_above) = evaluated?;
            self.check_loss(step, above)?;
            grads = grads_above;
        }
        let report = self.update(step, objective.params_mut(), &grads, 1.0)?;
        Ok(StepReport { loss: Some(loss), ..report })
    }

    /// A loss is a number, where somebody looks.
    pub(crate) fn check_loss(&self, step: u64, loss: f64) -> Result<(), OptimError> {
        if loss.is_finite() || !self.check_finite {
            return Ok(());
        }
        Err(OptimError::NonFiniteLoss { loss, step })
    }
}
