//! Normalisation by the root mean square.

use rappel_tensor::{Init, Param, Scope, Tensor, rms_norm, rms_norm_plus_one};

/// `y = x / sqrt(mean(x^2) + eps) * weight` over the last dimension, PyTorch's `torch.nn.RMSNorm`
/// (Zhang and Sennrich, <https://arxiv.org/abs/1910.07467>).
///
/// Parameter: `weight` `[features]`, ones at first.
///
/// ```
/// use rappel_nn::RmsNorm;
/// use rappel_tensor::{Params, Tensor};
/// let mut params = Params::new(0);
/// let norm = RmsNorm::new(&mut params.scope("norm"), 2, 0.0);
/// let y = norm.forward(&Tensor::from_slice(&[-2.0_f32, 2.0], [1, 2]));
/// assert_eq!(y.to_vec::<f32>(), [-1.0, 1.0]);
/// ```
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Param,
    eps: f64,
    plus_one: bool,
}

impl RmsNorm {
    /// A layer over `features` numbers; `eps` is 1e-6 in Llama.
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, features: usize, eps: f64) -> Self {
        Self { weight: scope.add("weight", [features], Init::ONES), eps, plus_one: false }
    }

    /// The same with a weight that is zero at first and to which 1 is added, as in Gemma.
    #[track_caller]
    pub fn plus_one(scope: &mut Scope<'_>, features: usize, eps: f64) -> Self {
        Self { weight: scope.add("weight", [features], Init::ZEROS), eps, plus_one: true }
    }

    /// `[.., features]` to the same shape.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let norm = if self.plus_one { rms_norm_plus_one } else { rms_norm };
        norm(x, &self.weight.tensor(), self.eps)
    }
}
