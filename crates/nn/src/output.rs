//! What a model hands to its loss.

use rappel_tensor::Tensor;

/// The states that a head reads, and a loss of the model's own.
#[derive(Debug, Clone)]
pub struct Output {
    /// `[batch, .., width]`.
    pub hidden: Tensor,
    /// A scalar that the loss has beside the cross-entropy, such as the one that balances the load of experts.
    pub auxiliary: Option<Tensor>,
}

impl From<Tensor> for Output {
    fn from(hidden: Tensor) -> Self {
        Self { hidden, auxiliary: None }
    }
}
