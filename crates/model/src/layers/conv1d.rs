//! GPT-2's affine map.

use rappel_tensor::{Init, Param, Scope, Tensor, WeightLayout, linear};

use super::normal;

/// `y = x W + b` with the weight the other way round than [`Linear`](super::Linear)'s, as GPT-2's
/// checkpoints keep it: transformers' `Conv1D`.
///
/// Parameters: `weight` `[in_features, out_features]`, normal at first, and `bias`, zero.
///
/// ```
/// use rappel_model::Conv1D;
/// use rappel_tensor::{DType, Params, Tensor};
/// let mut params = Params::new(0);
/// let layer = Conv1D::new(&mut params.scope("c_attn"), 4, 12, 0.02);
/// assert_eq!(*layer.forward(&Tensor::ones([2, 4], DType::F32)).shape(), [2, 12]);
/// assert_eq!(*params.get("c_attn.weight").unwrap().shape(), [4, 12]);
/// ```
#[derive(Clone)]
pub struct Conv1D {
    weight: Param,
    bias: Param,
}

impl Conv1D {
    /// A layer whose weight has the standard deviation `std` (0.02 in GPT-2).
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, in_features: usize, out_features: usize, std: f64) -> Self {
        Self {
            weight: scope.add("weight", [in_features, out_features], normal(std)),
            bias: scope.add("bias", [out_features], Init::ZEROS),
        }
    }

    /// `[.., in_features]` to `[.., out_features]`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        linear(x, &self.weight.tensor(), Some(&self.bias.tensor()), WeightLayout::InOut)
    }
}
