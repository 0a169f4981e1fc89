//! A stack of linear maps.

use rappel_tensor::{Scope, Tensor};

use super::activation::Activation;
use super::linear::Linear;

/// [`Linear`] layers with an activation between each two: PyTorch's
/// `Sequential(Linear, ReLU, Linear, ReLU, ..., Linear)`.
///
/// Parameters carry the names of that `Sequential`, where activations count: `0.weight`, `0.bias`,
/// `2.weight`, ...
///
/// ```
/// use rappel_nn::{Activation, Mlp};
/// use rappel_tensor::{DType, Params, Tensor};
/// let mut params = Params::new(0);
/// let net = Mlp::new(&mut params.scope(""), &[784, 512, 512, 10], Activation::Relu);
/// assert_eq!(*net.forward(&Tensor::ones([64, 784], DType::F32)).shape(), [64, 10]);
/// assert_eq!(params.names()[..3], ["0.weight", "0.bias", "2.weight"]);
/// ```
#[derive(Debug, Clone)]
pub struct Mlp {
    layers: Vec<Linear>,
    activation: Activation,
}

impl Mlp {
    /// Layers from each of `sizes` to the next.
    ///
    /// # Panics
    /// With fewer than two sizes.
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, sizes: &[usize], activation: Activation) -> Self {
        assert!(sizes.len() >= 2, "Mlp: needs two sizes or more, got {sizes:?}");
        let layer = |(i, pair): (usize, &[usize])| {
            Linear::new(&mut scope.scope(&(2 * i).to_string()), pair[0], pair[1])
        };
        Self { layers: sizes.windows(2).enumerate().map(layer).collect(), activation }
    }

    /// `[.., first size]` to `[.., last size]`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mut layers = self.layers.iter();
        let first = layers.next().expect("two sizes make a layer");
        layers.fold(first.forward(x), |x, layer| layer.forward(&self.activation.forward(&x)))
    }
}
