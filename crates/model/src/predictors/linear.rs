//! Linear and logistic regression.

use rappel_config::{OptionSet, Options};
use rappel_nn::{Features, Forward, Linear};
use rappel_tensor::{Init, Params, Tensor};

use super::{Predictor, PredictorConfig, PredictorEntry};

pub(super) const ENTRY: PredictorEntry = PredictorEntry {
    name: "linear",
    summary: "y = W x + b, from 0: linear regression, or softmax regression of classes",
    reference: "https://pytorch.org/docs/stable/generated/torch.nn.Linear.html",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Options)]
struct Config {
    /// whether there is a b
    #[option(default = true, aka("fit_intercept"))]
    bias: bool,
}

/// Parameters: `linear.weight` `[outputs, inputs]` and `linear.bias` `[outputs]`. They begin at 0, as
/// scikit-learn's solvers do: nothing here needs its symmetry broken.
#[derive(Debug)]
struct Affine(Linear);

impl PredictorConfig for Config {
    fn build(&self, params: &mut Params, inputs: usize, outputs: usize) -> Box<dyn Predictor> {
        let scope = &mut params.scope("linear");
        Box::new(Affine(Linear::from_init(scope, inputs, outputs, Init::ZEROS, self.bias)))
    }
}

impl Predictor for Affine {
    fn forward(&self, x: &Features, forward: &Forward) -> Tensor {
        self.0.of_features(x, forward)
    }

    fn linear(&self) -> Option<&Linear> {
        Some(&self.0)
    }
}
