//! Group normalisation.

use rappel_tensor::{Init, Param, Scope, Tensor, group_norm};

/// Normalises groups of channels of each image, PyTorch's `torch.nn.GroupNorm` (Wu and He,
/// <https://arxiv.org/abs/1803.08494>); inputs are `[batch, channels, ..]`.
///
/// Parameters: `weight` (ones at first) and `bias` (zeros), `[channels]` each.
///
/// ```
/// use rappel_nn::GroupNorm;
/// use rappel_tensor::{Params, Tensor};
/// let mut params = Params::new(0);
/// let norm = GroupNorm::new(&mut params.scope("norm"), 1, 2, 0.0);
/// let y = norm.forward(&Tensor::from_slice(&[1.0_f32, 3.0], [1, 2, 1, 1]));
/// assert_eq!(y.to_vec::<f32>(), [-1.0, 1.0]);
/// ```
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Param,
    bias: Param,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// A layer over `channels` in `groups`, which must divide them; `eps` is 1e-5 in PyTorch.
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, groups: usize, channels: usize, eps: f64) -> Self {
        Self {
            weight: scope.add("weight", [channels], Init::ONES),
            bias: scope.add("bias", [channels], Init::ZEROS),
            groups,
            eps,
        }
    }

    /// `[batch, channels, ..]` to the same shape.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        group_norm(x, self.groups, &self.weight.tensor(), &self.bias.tensor(), self.eps)
    }
}
