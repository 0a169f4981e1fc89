//! Layer normalisation.

use rappel_tensor::{Init, Param, Scope, Tensor, layer_norm};

/// `y = (x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension, PyTorch's
/// `torch.nn.LayerNorm` (Ba, Kiros and Hinton, <https://arxiv.org/abs/1607.06450>).
///
/// Parameters: `weight` (ones at first) and `bias` (zeros), `[features]` each.
///
/// ```
/// use rappel_nn::LayerNorm;
/// use rappel_tensor::{Params, Tensor};
/// let mut params = Params::new(0);
/// let norm = LayerNorm::new(&mut params.scope("ln"), 2, 0.0);
/// let y = norm.forward(&Tensor::from_slice(&[1.0_f32, 3.0], [1, 2]));
/// assert_eq!(y.to_vec::<f32>(), [-1.0, 1.0]);
/// ```
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Param,
    bias: Option<Param>,
    eps: f64,
}

impl LayerNorm {
    /// A layer over `features` numbers; `eps` is 1e-5 in PyTorch and GPT-2.
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, features: usize, eps: f64) -> Self {
        Self {
            weight: scope.add("weight", [features], Init::ONES),
            bias: Some(scope.add("bias", [features], Init::ZEROS)),
            eps,
        }
    }

    /// A layer that adds nothing: `bias` is not there.
    #[track_caller]
    pub fn without_bias(scope: &mut Scope<'_>, features: usize, eps: f64) -> Self {
        Self { weight: scope.add("weight", [features], Init::ONES), bias: None, eps }
    }

    /// `[.., features]` to the same shape.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let bias = self.bias.as_ref().map(Param::tensor);
        layer_norm(x, &self.weight.tensor(), bias.as_ref(), self.eps)
    }
}
