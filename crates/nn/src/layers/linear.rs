//! The affine map.

use rappel_tensor::{Init, Param, Scope, Tensor, WeightLayout};

use crate::adapted::adapted_linear;
use crate::forward::Forward;

/// `y = x W^T + b`, PyTorch's `torch.nn.Linear`.
///
/// Parameters: `weight` `[out_features, in_features]` and `bias` `[out_features]`, both uniform in
/// `+-1 / sqrt(in_features)` at first, as in PyTorch.
///
/// ```
/// use rappel_nn::Linear;
/// use rappel_tensor::{DType, Params, Tensor};
/// let mut params = Params::new(0);
/// let net = Linear::new(&mut params.scope("net"), 3, 2);
/// let y = net.forward(&Tensor::ones([5, 3], DType::F32));
/// assert_eq!(*y.shape(), [5, 2]);
/// assert_eq!(params.names(), ["net.weight", "net.bias"]);
/// ```
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Param,
    bias: Option<Param>,
}

impl Linear {
    /// A layer with bias.
    ///
    /// # Panics
    /// With `in_features` 0, or where the scope's names are taken.
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, in_features: usize, out_features: usize) -> Self {
        let mut layer = Self::without_bias(scope, in_features, out_features);
        layer.bias = Some(scope.add("bias", [out_features], initial(in_features)));
        layer
    }

    /// A layer without bias: `y = x W^T`.
    #[track_caller]
    pub fn without_bias(scope: &mut Scope<'_>, in_features: usize, out_features: usize) -> Self {
        Self::from_init(scope, in_features, out_features, initial(in_features), false)
    }

    /// A layer whose weight, and bias where it has one, begin as `init` says.
    #[track_caller]
    pub fn from_init(
        scope: &mut Scope<'_>,
        in_features: usize,
        out_features: usize,
        init: Init,
        bias: bool,
    ) -> Self {
        let weight = matrix(scope, in_features, out_features, init);
        Self { weight, bias: bias.then(|| scope.add("bias", [out_features], init)) }
    }

    /// A layer whose weight begins as `init` says, and whose bias, where it has one, is zero.
    #[track_caller]
    pub fn with_zero_bias(
        scope: &mut Scope<'_>,
        in_features: usize,
        out_features: usize,
        init: Init,
        bias: bool,
    ) -> Self {
        let weight = matrix(scope, in_features, out_features, init);
        Self { weight, bias: bias.then(|| scope.add("bias", [out_features], Init::ZEROS)) }
    }

    /// `[.., in_features]` to `[.., out_features]`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_in(x, &Forward::evaluation())
    }

    /// [`forward`](Self::forward) in a pass, where an adapter of the weight may drop inputs.
    #[track_caller]
    pub fn forward_in(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let bias = self.bias.as_ref().map(Param::tensor);
        adapted_linear(x, &self.weight, bias.as_ref(), WeightLayout::OutIn, forward)
    }

    /// The matrix `[out_features, in_features]`.
    pub fn weight(&self) -> &Param {
        &self.weight
    }

    /// The row `[out_features]` that is added, where there is one.
    pub fn bias(&self) -> Option<&Param> {
        self.bias.as_ref()
    }
}

#[track_caller]
fn matrix(scope: &mut Scope<'_>, inputs: usize, outputs: usize, init: Init) -> Param {
    scope.add_linear("weight", [outputs, inputs], init, WeightLayout::OutIn)
}

#[track_caller]
fn initial(in_features: usize) -> Init {
    assert!(in_features > 0, "Linear: in_features is 0");
    Init::Uniform { bound: 1.0 / (in_features as f64).sqrt() }
}
