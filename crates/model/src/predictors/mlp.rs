//! Multi-layer perceptrons.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Activation, Dropout, Features, Forward, Linear};
use rappel_tensor::{Params, Tensor};

use super::{Predictor, PredictorConfig, PredictorEntry};
use crate::ActivationName;

pub(super) const ENTRY: PredictorEntry = PredictorEntry {
    name: "mlp",
    summary: "linear maps with an activation, and dropout, after each but the last",
    reference: "Rumelhart, Hinton and Williams, 1986, https://doi.org/10.1038/323533a0",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Options)]
struct Config {
    /// widths of the hidden layers
    #[option(default = [64, 64], range = 1.., aka("hidden", "hidden_layer_sizes", "layers"))]
    hidden_sizes: Vec<usize>,
    /// the function between linear maps
    #[option(default = ActivationName::Relu)]
    activation: ActivationName,
    /// probability with which a hidden number is 0 in training
    #[option(default = 0.0, range = 0.0..1.0)]
    dropout: f64,
}

/// Parameters: `mlp.0.weight`, `mlp.0.bias`, `mlp.1.weight` and so on, with PyTorch's initial values.
#[derive(Debug)]
struct Perceptron {
    layers: Vec<Linear>,
    activation: Activation,
    dropout: Dropout,
}

/// More layers than this are taken for a mistake.
const MOST_LAYERS: usize = 1000;

/// So are more parameters than this.
const MOST_PARAMETERS: u128 = 1 << 40;

impl PredictorConfig for Config {
    fn fault(&self, inputs: usize, outputs: usize) -> Option<(&'static str, String)> {
        let layers = self.hidden_sizes.len();
        if layers > MOST_LAYERS {
            let reason = format!("{layers} layers; at most {MOST_LAYERS} are supported");
            return Some(("hidden_sizes", reason));
        }
        let sizes = [&[inputs], &self.hidden_sizes[..], &[outputs]].concat();
        let of = |pair: &[usize]| (pair[0] as u128 + 1).saturating_mul(pair[1] as u128);
        let parameters = sizes.windows(2).map(of).fold(0, u128::saturating_add);
        (parameters > MOST_PARAMETERS).then(|| {
            let reason = format!(
                "these sizes make {parameters} parameters, at most {MOST_PARAMETERS} are supported; \
                 make them smaller"
            );
            ("hidden_sizes", reason)
        })
    }

    fn build(&self, params: &mut Params, inputs: usize, outputs: usize) -> Box<dyn Predictor> {
        let scope = &mut params.scope("mlp");
        let sizes = [&[inputs], &self.hidden_sizes[..], &[outputs]].concat();
        let layer = |(i, pair): (usize, &[usize])| {
            Linear::new(&mut scope.scope(&i.to_string()), pair[0], pair[1])
        };
        let layers = sizes.windows(2).enumerate().map(layer).collect();
        let activation = self.activation.function();
        Box::new(Perceptron { layers, activation, dropout: Dropout::new(self.dropout) })
    }
}

impl Predictor for Perceptron {
    fn has_dropout(&self) -> bool {
        self.layers.len() > 1
    }

    fn forward(&self, x: &Features, forward: &Forward) -> Tensor {
        let first = self.layers[0].of_features(x, forward);
        self.layers.iter().enumerate().skip(1).fold(first, |x, (i, layer)| {
            let hidden = self.activation.forward(&x);
            layer.forward(&self.dropout.forward(hidden, &forward.number(i)))
        })
    }
}
