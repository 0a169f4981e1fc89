//! Activations, by Hugging Face's names.

use rappel_tensor::{Tensor, gated_gelu, gated_gelu_tanh, gated_silu};

/// A function of each number between linear maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU by its tanh approximation.
    GeluTanh,
    /// GELU by the error function.
    Gelu,
    /// `max(x, 0)`
    Relu,
    /// `x * sigmoid(x)`
    Silu,
    /// `tanh`
    Tanh,
}

impl Activation {
    /// The function of each element.
    #[track_caller]
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::GeluTanh => x.gelu_tanh(),
            Self::Gelu => x.gelu(),
            Self::Relu => x.relu(),
            Self::Silu => x.silu(),
            Self::Tanh => x.tanh(),
        }
    }

    /// The function of each element of `gate`, times `up`: in one walk for SiLU and both kinds of GELU.
    #[track_caller]
    pub fn gated(self, gate: &Tensor, up: &Tensor) -> Tensor {
        match self {
            Self::GeluTanh => gated_gelu_tanh(gate, up),
            Self::Gelu => gated_gelu(gate, up),
            Self::Silu => gated_silu(gate, up),
            Self::Relu | Self::Tanh => self.forward(gate) * up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_formulas() {
        let x = Tensor::from_slice(&[-1.5_f64, 0.5], [2]);
        // By Python's math.erf, math.tanh and math.exp.
        let cases = [
            (Activation::Gelu, [-0.10021080190328713, 0.34573123063700656]),
            (Activation::GeluTanh, [-0.10042842301976707, 0.34571400982514394]),
            (Activation::Relu, [0.0, 0.5]),
            (Activation::Silu, [-0.2736382857095345, 0.3112296656009273]),
            (Activation::Tanh, [-0.9051482536448664, 0.46211715726000974]),
        ];
        for (activation, want) in cases {
            let got = activation.forward(&x).to_vec::<f64>();
            rappel_testkit::assert_close(&got, &want, 1e-12, &format!("{activation:?}"));
        }
    }

    #[test]
    fn gates_multiply_the_function() {
        use Activation::{Gelu, GeluTanh, Relu, Silu, Tanh};
        let gate = Tensor::from_slice(&[-1.5_f64, 0.5], [2]);
        let up = Tensor::from_slice(&[3.0_f64, -7.0], [2]);
        for activation in [GeluTanh, Gelu, Relu, Silu, Tanh] {
            let [got, want] = [activation.gated(&gate, &up), activation.forward(&gate) * &up];
            let name = format!("{activation:?}");
            rappel_testkit::assert_close(&got.to_vec::<f64>(), &want.to_vec(), 1e-15, &name);
        }
    }
}
