//! The affine map with a transposed weight.

use rappel_tensor::{Init, Param, Scope, Tensor, WeightLayout};

use crate::adapted::adapted_linear;
use crate::forward::Forward;

/// `y = x W + b`: the weight is the transpose of [`Linear`](super::Linear)'s, as GPT-2's checkpoints keep it.
///
/// Parameters: `weight` `[in_features, out_features]` and `bias`, zero.
///
/// ```
/// use rappel_nn::TransposedLinear;
/// use rappel_tensor::{DType, Init, Params, Tensor};
/// let mut params = Params::new(0);
/// let layer = TransposedLinear::new(&mut params.scope("c_attn"), 4, 12, Init::Normal { std: 0.02 });
/// assert_eq!(*layer.forward(&Tensor::ones([2, 4], DType::F32)).shape(), [2, 12]);
/// assert_eq!(*params.get("c_attn.weight").unwrap().shape(), [4, 12]);
/// ```
#[derive(Debug, Clone)]
pub struct TransposedLinear {
    weight: Param,
    bias: Param,
}

impl TransposedLinear {
    /// A layer whose weight begins as `init` says, and whose bias is zero.
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, in_features: usize, out_features: usize, init: Init) -> Self {
        Self {
            weight: scope.add_linear(
                "weight",
                [in_features, out_features],
                init,
                WeightLayout::InOut,
            ),
            bias: scope.add("bias", [out_features], Init::ZEROS),
        }
    }

    /// `[.., in_features]` to `[.., out_features]`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_in(x, &Forward::evaluation())
    }

    /// [`forward`](Self::forward) in a pass, where an adapter of the weight may drop inputs.
    #[track_caller]
    pub fn forward_in(&self, x: &Tensor, forward: &Forward) -> Tensor {
        adapted_linear(x, &self.weight, Some(&self.bias.tensor()), WeightLayout::InOut, forward)
    }
}
