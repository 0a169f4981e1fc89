//! What must hold before a step may change parameters.

use rappel_optim::OptimError;
use rappel_tensor::{Params, Tensor};

use crate::TrainError;
use crate::tasks::Task;

/// The loss is a number.
pub(crate) fn finite_loss(step: u64, loss: f64, task: &dyn Task) -> Result<(), TrainError> {
    if loss.is_finite() {
        return Ok(());
    }
    let tensor = first_non_finite(task.params())
        .or_else(|| task.first_non_finite_activation(step - 1))
        .unwrap_or_else(|| "the loss itself".to_owned());
    let samples = task.samples(step - 1);
    Err(TrainError::NonFinite { step, what: format!("the loss is {loss}"), tensor, samples })
}

/// What the optimizer refused, with the step and its batch.
pub(crate) fn explain(step: u64, error: OptimError, task: &dyn Task) -> TrainError {
    let non_finite = |what: &str, tensor| {
        let samples = task.samples(step - 1);
        TrainError::NonFinite { step, what: what.to_owned(), tensor, samples }
    };
    match error {
        OptimError::MissingGradient { name, others } => {
            TrainError::NoGradient { step, name, others }
        }
        OptimError::NonFiniteGradient { name, index, value, .. } => non_finite(
            "the gradient is not finite",
            format!("the gradient of {name}, {value} at {index}"),
        ),
        OptimError::NormOverflow { name, value, .. } => non_finite(
            "the norm of the gradient overflows",
            format!("none, but the gradient of {name} goes up to {value:e}"),
        ),
        other => other.into(),
    }
}

/// The first parameter with a NaN or an infinity.
fn first_non_finite(params: &Params) -> Option<String> {
    let place = |(name, tensor): (String, Tensor)| {
        tensor.first_non_finite().map(|place| format!("the parameter {name}, at {place}"))
    };
    params.tensors().into_iter().find_map(place)
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
