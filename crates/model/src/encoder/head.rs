//! What makes logits of an encoder's states.

use rappel_nn::{Activation, Dropout, Forward, LayerNorm, Linear, Values};
use rappel_tensor::{Init, Param, Scope, Tensor, WeightLayout, linear};

use super::shape::{EncoderShape, HeadShape, Reads};
use super::texts::{EncoderTexts, first};

/// A head with its parameters.
#[derive(Debug, Clone)]
pub(super) struct Head {
    reads: Reads,
    dense: Option<(Linear, Activation)>,
    norm: Option<LayerNorm>,
    /// `[logits, width]`.
    weight: Param,
    bias: Option<Param>,
    dropouts: [Dropout; 2],
}

impl Head {
    /// The head of a shape, with `tokens` for its matrix where it is a masked language model's, otherwise with
    /// `labels` rows.
    pub fn new(
        scope: &mut Scope<'_>,
        model: &EncoderShape,
        shape: &HeadShape,
        out: Out<'_>,
        values: Values,
    ) -> Self {
        let (width, init) = (model.width, values.normal(model.stds[0]));
        let dense = shape.dense.map(|dense| {
            let mut scope = scope.scope(dense.name);
            let layer = Linear::with_zero_bias(&mut scope, width, width, init, dense.bias);
            (layer, dense.activation)
        });
        let norm = shape.norm.map(|name| model.norm(&mut scope.scope(name)));
        let (weight, rows) = match out {
            Out::Tokens(weight) => (weight.clone(), model.vocab_size),
            Out::Labels(rows) => {
                (scope.add(&format!("{}.weight", shape.out), [rows, width], init), rows)
            }
        };
        let bias = shape.bias.map(|name| scope.add(name, [rows], Init::ZEROS));
        let dropouts = shape.dropouts.map(Dropout::new);
        Self { reads: shape.reads, dense, norm, weight, bias, dropouts }
    }

    /// Whether it reads the state of each token.
    pub fn is_of_each(&self) -> bool {
        self.reads == Reads::Each
    }

    /// The states `[batch, time, width]` that it reads, `[rows, width]`.
    #[track_caller]
    pub fn read(&self, states: &Tensor, texts: &EncoderTexts) -> Tensor {
        match self.reads {
            Reads::Each => states.reshape([states.size(0) * states.size(1), states.size(2)]),
            Reads::First => first(states),
            Reads::Mean => texts.mean(states),
        }
    }

    /// Logits `[rows, logits]` of `[rows, width]`.
    #[track_caller]
    pub fn logits(&self, states: Tensor, forward: &Forward) -> Tensor {
        let drop =
            |i: usize, x: Tensor| self.dropouts[i].forward(x, &forward.layer("dropout").number(i));
        let mut x = drop(0, states);
        if let Some((dense, activation)) = &self.dense {
            x = activation.forward(&dense.forward(&x));
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x);
        }
        let bias = self.bias.as_ref().map(Param::tensor);
        linear(&drop(1, x), &self.weight.tensor(), bias.as_ref(), WeightLayout::OutIn)
    }
}

/// What the logits of a head are of.
#[derive(Clone, Copy)]
pub(super) enum Out<'a> {
    /// Tokens, by their embedding.
    Tokens(&'a Param),
    /// So many labels.
    Labels(usize),
}
