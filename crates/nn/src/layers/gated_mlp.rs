//! Gated feed-forward layers.

use rappel_tensor::{Init, Scope, Tensor};

use super::activation::Activation;
use super::linear::Linear;
use crate::forward::Forward;

/// `down(activation(gate(x)) up(x))`: with SiLU a SwiGLU layer, with GELU a GeGLU layer (Shazeer,
/// <https://arxiv.org/abs/2002.05202>).
///
/// Parameters are linear layers under names that the caller gives.
///
/// ```
/// use rappel_nn::{Activation, GatedMlp};
/// use rappel_tensor::{DType, Init, Params, Tensor};
/// let mut params = Params::new(0);
/// let names = ["gate_proj", "up_proj", "down_proj"];
/// let init = Init::Normal { std: 0.02 };
/// let mlp = GatedMlp::new(&mut params.scope("mlp"), names, [8, 20], Activation::Silu, init, false);
/// assert_eq!(*mlp.forward(&Tensor::ones([2, 8], DType::F32)).shape(), [2, 8]);
/// assert_eq!(params.names()[0], "mlp.gate_proj.weight");
/// ```
#[derive(Debug, Clone)]
pub struct GatedMlp {
    gate: Gate,
    down: Linear,
    activation: Activation,
}

#[derive(Debug, Clone)]
enum Gate {
    Apart {
        gate: Linear,
        up: Linear,
    },
    /// The gate's rows before the others'.
    Fused(Linear),
}

impl GatedMlp {
    /// A layer of `[width, inner]` whose weights begin as `init` says; `names` are those of the gate, of the other
    /// half and of the way back.
    #[track_caller]
    pub fn new(
        scope: &mut Scope<'_>,
        names: [&str; 3],
        [width, inner]: [usize; 2],
        activation: Activation,
        init: Init,
        bias: bool,
    ) -> Self {
        let mut layer = |name: &str, from: usize, to: usize| {
            Linear::with_zero_bias(&mut scope.scope(name), from, to, init, bias)
        };
        let gate = layer(names[0], width, inner);
        let up = layer(names[1], width, inner);
        let down = layer(names[2], inner, width);
        Self { gate: Gate::Apart { gate, up }, down, activation }
    }

    /// The same without biases, whose gate and other half are one linear layer, the gate first.
    #[track_caller]
    pub fn fused(
        scope: &mut Scope<'_>,
        [gate_up, down]: [&str; 2],
        [width, inner]: [usize; 2],
        activation: Activation,
        init: Init,
    ) -> Self {
        let mut layer = |name: &str, from: usize, to: usize| {
            Linear::from_init(&mut scope.scope(name), from, to, init, false)
        };
        let gate = Gate::Fused(layer(gate_up, width, 2 * inner));
        Self { gate, down: layer(down, inner, width), activation }
    }

    /// `[.., width]` to the same.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_in(x, &Forward::evaluation())
    }

    /// [`forward`](Self::forward) in a pass, where adapters of the weights may drop inputs.
    #[track_caller]
    pub fn forward_in(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let inner = match &self.gate {
            Gate::Apart { gate, up } => {
                self.activation.gated(&gate.forward_in(x, forward), &up.forward_in(x, forward))
            }
            Gate::Fused(both) => {
                let both = both.forward_in(x, forward);
                let last = both.rank() - 1;
                let inner = both.size(last) / 2;
                let half = |i: usize| both.narrow(last, i * inner, inner);
                self.activation.gated(&half(0), &half(1))
            }
        };
        self.down.forward_in(&inner, forward)
    }
}
