//! What must hold before a step may change parameters.

use rappel_optim::OptimError;
use rappel_tensor::{Params, Tensor};

use crate::tasks::Task;
use crate::{Pass, TrainError};

/// What kept the step from being taken, with the step and its batch.
pub(crate) fn explain(
    step: u64,
    error: TrainError,
    task: &dyn Task,
    passes: &[Pass],
) -> TrainError {
    let TrainError::Optim(error) = error else { return error };
    let non_finite = |what: String, tensor| {
        let samples = task.order().samples(step - 1);
        TrainError::NonFinite { step, what, tensor, samples }
    };
    match *error {
        OptimError::MissingGradient { name, others } => {
            TrainError::NoGradient { step, name, others }
        }
        OptimError::NonFiniteLoss { loss, .. } => {
            let tensor = first_non_finite(task.params())
                .or_else(|| task.first_non_finite_activation(passes))
                .unwrap_or_else(|| "the loss itself".to_owned());
            non_finite(format!("the loss is {loss}"), tensor)
        }
        OptimError::NonFiniteGradient { name, index, value, .. } => non_finite(
            "the gradient is not finite".to_owned(),
            format!("the gradient of {name}, {value} at {index}"),
        ),
        OptimError::NormOverflow { name, value, .. } => non_finite(
            "the norm of the gradient overflows".to_owned(),
            format!("none, but the gradient of {name} goes up to {value:e}"),
        ),
        // Runs count steps from 1.
        OptimError::Unfinished { why, updated, .. } => {
            OptimError::Unfinished { why, updated, step }.into()
        }
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
