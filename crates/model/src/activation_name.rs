//! The option of models that names their activation function.

use rappel_config::Words;
use rappel_nn::Activation;

/// What transformers calls an activation function; some have two names, and a config keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum ActivationName {
    /// GELU by its tanh approximation.
    GeluNew,
    /// The same.
    GeluPytorchTanh,
    /// GELU by the error function.
    Gelu,
    /// `max(x, 0)`
    Relu,
    /// `x * sigmoid(x)`
    Silu,
    /// The same.
    Swish,
    /// `tanh`
    Tanh,
}

impl ActivationName {
    /// The function of this name.
    pub fn function(self) -> Activation {
        match self {
            Self::GeluNew | Self::GeluPytorchTanh => Activation::GeluTanh,
            Self::Gelu => Activation::Gelu,
            Self::Relu => Activation::Relu,
            Self::Silu | Self::Swish => Activation::Silu,
            Self::Tanh => Activation::Tanh,
        }
    }
}
