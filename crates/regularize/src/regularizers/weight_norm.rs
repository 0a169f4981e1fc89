//! Weights as lengths and directions.

use rappel_tensor::Form;

use super::{ActsOn, Entry, PARAMS, Regularizer, Technique};
use crate::Axis;

pub(super) const ENTRY: Entry = Entry {
    name: "weight_norm",
    summary: "weights are g v / ||v||: the length and direction of each row are trained apart",
    reference: "Salimans and Kingma, 2016, https://arxiv.org/abs/1602.07868, as PyTorch's weight_norm",
    fields: &[Axis::FIELD, PARAMS],
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, _| {
            let columns = Axis::named(options.str("groups")) == Axis::Columns;
            Ok(Regularizer::Form(Form::WeightNorm { columns }))
        },
    },
};

const ABOUT: &str = "\
Each row `w` of a weight, or each column (all but the last dimension), is `g v / ||v||`; `g` and `v` are trained,
and begin so that `w` is what it would be without. Whatever the model is, it sees `w`.

In checkpoints `g` and `v` stand in the place of `weight` under PyTorch's names, which `params` of other
regularizers and of optimizer groups then match: `parametrizations.weight.original0` and `.original1`. The model
that a run writes holds the weights themselves.";
