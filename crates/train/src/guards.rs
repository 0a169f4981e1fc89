//! What must hold before a step may change parameters.

use rappel_optim::OptimError;
use rappel_tensor::{Params, StreamedTensor};

use crate::TrainError;
use crate::checkpoint::Named;
use crate::step_loss::StepBatch;
use crate::task::Task;

/// What kept the step from being taken, with the step and its batch.
pub(crate) fn explain(error: TrainError, task: &dyn Task, batch: &StepBatch) -> TrainError {
    let TrainError::Optim(error) = error else { return error };
    // Runs count steps from 1.
    let step = batch.step + 1;
    let non_finite = |what: String, tensor| {
        let samples = batch.parts.iter().flat_map(|part| &part.samples).copied().collect();
        TrainError::NonFinite { step, what, tensor, samples }
    };
    let activation = || {
        let mut parts = batch.parts.iter().filter(|part| !part.samples.is_empty());
        parts.find_map(|part| task.first_non_finite_activation(&part.samples, &part.pass))
    };
    match *error {
        OptimError::MissingGradient { name, others } => {
            TrainError::NoGradient { step, name, others }
        }
        OptimError::NonFiniteLoss { loss, .. } => {
            let tensor = first_non_finite(task.params())
                .or_else(activation)
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
        OptimError::Unfinished { why, updated, .. } => {
            OptimError::Unfinished { why, updated, step }.into()
        }
        other => other.into(),
    }
}

/// The first parameter with a NaN or an infinity.
pub(crate) fn first_non_finite(params: &Params) -> Option<String> {
    let tensors: Vec<_> = params.tensors().into_iter().map(StreamedTensor::from).collect();
    first_of(&tensors).map(|(name, at)| format!("the parameter {name}, at {at}"))
}

/// The first tensor of an optimizer's state with a NaN or an infinity.
pub(crate) fn first_non_finite_state(state: &Named) -> Option<String> {
    first_of(state).map(|(name, at)| format!("the optimizer's state {name}, at {at}"))
}

fn first_of<'a>(tensors: &'a Named) -> Option<(&'a str, usize)> {
    tensors.iter().find_map(|tensor| Some((tensor.name(), tensor.first_non_finite()?)))
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
