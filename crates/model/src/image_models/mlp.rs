//! Multi-layer perceptrons of an image's pixels.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Activation, Dropout, Forward, Linear};
use rappel_tensor::{Params, Tensor};
use serde_json::{Map, Value};

use super::{ImageEntry, ImageModel, ImageModelConfig, ImageShape, configure};
use crate::ActivationName;

pub(super) const ENTRY: ImageEntry = ImageEntry {
    name: "mlp",
    summary: "linear maps of all pixels, with an activation, and dropout, after each but the last",
    reference: "Rumelhart, Hinton and Williams, 1986, https://doi.org/10.1038/323533a0",
    fields: MlpConfig::FIELDS,
    build: configure::<MlpConfig>,
};

#[derive(Debug, Options)]
struct MlpConfig {
    /// widths of the hidden layers
    #[option(default = [256, 128, 64], range = 1.., aka("hidden", "layers"))]
    hidden_sizes: Vec<usize>,
    /// the function between linear maps
    #[option(default = ActivationName::Relu, aka("hidden_act"))]
    activation: ActivationName,
    /// probability of dropping a number after the activation
    #[option(default = 0.0, range = 0.0..1.0, aka("dropout_rate"))]
    dropout: f64,
}

impl ImageModelConfig for MlpConfig {
    fn class(&self) -> Option<&'static str> {
        None
    }

    fn fault(&self, _: ImageShape) -> Option<(&'static str, String)> {
        None
    }

    fn build(&self, params: &mut Params, images: ImageShape) -> Box<dyn ImageModel> {
        let pixels = images.channels * images.size[0] * images.size[1];
        let sizes = [&[pixels], &self.hidden_sizes[..], &[images.classes]].concat();
        let mut scope = params.scope("mlp");
        let layers = sizes
            .windows(2)
            .enumerate()
            .map(|(i, pair)| Linear::new(&mut scope.scope(&i.to_string()), pair[0], pair[1]));
        Box::new(Mlp {
            layers: layers.collect(),
            activation: self.activation.function(),
            dropout: Dropout::new(self.dropout),
        })
    }

    fn numbers(&self, images: ImageShape) -> usize {
        let pixels = images.channels * images.size[0] * images.size[1];
        self.hidden_sizes
            .iter()
            .fold(pixels, |sum, size| sum.saturating_add(size.saturating_mul(3)))
    }

    fn to_json(&self) -> Map<String, Value> {
        OptionSet::to_json(self)
    }
}

#[derive(Debug)]
struct Mlp {
    layers: Vec<Linear>,
    activation: Activation,
    dropout: Dropout,
}

impl ImageModel for Mlp {
    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let mut x = x.reshape([x.size(0), x.count() / x.size(0)]);
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                x = self.dropout.forward(self.activation.forward(&x), &forward.number(i));
            }
            x = layer.forward(&x);
        }
        x
    }

    fn has_dropout(&self) -> bool {
        !self.layers.is_empty()
    }
}
