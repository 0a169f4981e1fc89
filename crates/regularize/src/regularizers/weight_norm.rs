//! Weights as lengths and directions.

use rappel_config::{OptionSet, Options};
use rappel_tensor::Form;

use super::{ActsOn, Entry, Patterns, Regularizer, Technique};
use crate::Axis;

pub(super) const ENTRY: Entry = Entry {
    name: "weight_norm",
    summary: "weights are g v / ||v||: the length and direction of each row are trained apart",
    reference: "Salimans and Kingma, 2016, https://arxiv.org/abs/1602.07868, as PyTorch's weight_norm",
    fields: WeightNormOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, horizon| {
            let own = WeightNormOptions::read_over(options, Some(horizon))?;
            let columns = own.groups == Axis::Columns;
            Ok(Regularizer::Form(Form::WeightNorm { columns }))
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct WeightNormOptions {
    /// what is taken together: weights into one output of a linear layer, or out of one input (the other
    /// way round in GPT-2, whose weights are transposed)
    #[option(default = Axis::Rows)]
    groups: Axis,
    #[option(flatten)]
    on: Patterns,
}

const ABOUT: &str = "\
Each row `w` of a weight, or each column (all but the last dimension), is `g v / ||v||`; `g` and `v` are trained,
and begin so that `w` is what it would be without. Whatever the model is, it sees `w`.

In checkpoints `g` and `v` stand in the place of `weight` under PyTorch's names, which `params` of other
regularizers and of optimizer groups then match: `parametrizations.weight.original0` and `.original1`. The model
that a run writes holds the weights themselves.";
