//! What is descended, as a function that steps may evaluate more than once.

use rappel_tensor::{Grads, Params};

use crate::error::OptimError;

/// Parameters, and the loss with its gradients wherever they stand.
pub trait Objective {
    /// What can go wrong with an evaluation, or with a step.
    type Error: From<OptimError>;

    /// The parameters. No tensor made from them may be alive between evaluations.
    fn params_mut(&mut self) -> &mut Params;

    /// The loss and its gradients where the parameters are now: within a step a function of them
    /// alone, so on the same batch and with the same random numbers each time.
    ///
    /// # Errors
    /// Whatever keeps it from being computed. The step then is not taken.
    fn evaluate(&mut self) -> Result<(f64, Grads), Self::Error>;
}
