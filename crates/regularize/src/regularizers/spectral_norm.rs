//! Weights that stretch no vector.

use rappel_config::{OptionSet, Options};
use rappel_tensor::Form;

use super::{ActsOn, Entry, Patterns, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "spectral_norm",
    summary: "weights are v / sigma, with the largest singular value sigma of v",
    reference: "Miyato et al., 2018, https://arxiv.org/abs/1802.05957, as PyTorch's spectral_norm",
    fields: SpectralNormOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |_, _| Ok(Regularizer::Form(Form::SpectralNorm)),
    },
};

/// Its options.
#[derive(Debug, Options)]
struct SpectralNormOptions {
    #[option(flatten)]
    on: Patterns,
}

const ABOUT: &str = "\
A weight is `w = v / (a^T v b)`, as a matrix of its first dimension against all others, where `v` is trained and
the unit vectors `a` and `b` follow its leading singular vectors: 15 steps of power iteration
`a <- v b / |v b|`, `b <- v^T a / |v^T a|` at the start, and one after each step of the optimizer. Gradients see
`a` and `b` as constants. Whatever the model is, it sees `w`, whose largest singular value is about 1.

In checkpoints `v`, `a` and `b` stand in the place of `weight` under PyTorch's names, which `params` of other
regularizers and of optimizer groups then match: `parametrizations.weight.original`, `.0._u` and `.0._v`. The
model that a run writes holds the weights themselves.";
