//! One layer of an encoder.

use rappel_nn::{Activation, Dropout, Forward, LayerNorm, Linear, Values};
use rappel_tensor::{AttentionOptions, Init, Scope, Tensor, attention, rotary};

use super::shape::{EncoderShape, LayerShape, Projections};
use crate::rope::Angles;

/// Attention to the whole text or a window, then an MLP; each adds to the states, with norms before or after.
#[derive(Debug, Clone)]
pub(super) struct Block {
    attention: Attention,
    mlp: Mlp,
    /// Of attention and of the MLP.
    norms: [Option<LayerNorm>; 2],
    norms_before: bool,
    dropouts: [Dropout; 2],
}

#[derive(Debug, Clone)]
struct Attention {
    /// Queries, keys and values, or all of them in one matrix.
    projections: Vec<Linear>,
    out: Linear,
    heads: usize,
    window: Option<usize>,
    dropout: Dropout,
}

#[derive(Debug, Clone)]
struct Mlp {
    up: Linear,
    down: Linear,
    activation: Activation,
    gated: bool,
    dropout: Dropout,
}

/// A linear layer of `[from, to]` under its name, with a bias that begins at zero where it has one.
fn linear(
    scope: &mut Scope<'_>,
    name: &str,
    [from, to]: [usize; 2],
    init: Init,
    bias: bool,
) -> Linear {
    Linear::with_zero_bias(&mut scope.scope(name), from, to, init, bias)
}

impl Block {
    pub fn new(
        scope: &mut Scope<'_>,
        model: &EncoderShape,
        layer: &LayerShape,
        is_first: bool,
        values: Values,
    ) -> Self {
        let EncoderShape { names, norms, dropouts, .. } = model;
        let inits = model.stds.map(|std| values.normal(std));
        let attention_norm = (!(norms.before && is_first))
            .then(|| model.norm(&mut scope.scope(names.attention_norm)));
        let attention = Attention::new(scope, model, layer, inits);
        let mlp_norm = Some(model.norm(&mut scope.scope(names.mlp_norm)));
        let mlp = Mlp::new(scope, model, inits);
        Self {
            attention,
            mlp,
            norms: [attention_norm, mlp_norm],
            norms_before: norms.before,
            dropouts: [Dropout::new(dropouts.attention[1]), Dropout::new(dropouts.mlp[1])],
        }
    }

    /// `[batch, time, width]` to the same.
    pub fn forward(
        &self,
        x: &Tensor,
        angles: Option<&Angles>,
        real: Option<&Tensor>,
        forward: &Forward,
    ) -> Tensor {
        let attend =
            |x: &Tensor| self.attention.forward(x, angles, real, &forward.layer("attention"));
        let x = self.part(0, x, &forward.layer("attention"), attend);
        self.part(1, &x, &forward.layer("mlp"), |x| self.mlp.forward(x, &forward.layer("mlp")))
    }

    /// `x` and what `branch` makes of it, with the norm of part `i`.
    fn part(
        &self,
        i: usize,
        x: &Tensor,
        forward: &Forward,
        branch: impl FnOnce(&Tensor) -> Tensor,
    ) -> Tensor {
        let norm = |x: &Tensor| match &self.norms[i] {
            Some(norm) => norm.forward(x),
            None => x.clone(),
        };
        let branch = if self.norms_before { branch(&norm(x)) } else { branch(x) };
        let branch = self.dropouts[i].forward(branch, &forward.layer("dropout"));
        let sum = forward.residual(x, branch);
        if self.norms_before { sum } else { norm(&sum) }
    }
}

impl Attention {
    fn new(
        scope: &mut Scope<'_>,
        model: &EncoderShape,
        layer: &LayerShape,
        [init, init_out]: [Init; 2],
    ) -> Self {
        let (width, bias, names) = (model.width, model.biases[0], model.names);
        let projections = match names.projections {
            Projections::Apart(names) => {
                names.iter().map(|name| linear(scope, name, [width, width], init, bias)).collect()
            }
            Projections::Fused(name) => vec![linear(scope, name, [width, 3 * width], init, bias)],
        };
        let out = linear(scope, names.attention_out, [width, width], init_out, bias);
        let dropout = Dropout::of_attention(model.dropouts.attention[0]);
        Self { projections, out, heads: model.heads, window: layer.window, dropout }
    }

    fn forward(
        &self,
        x: &Tensor,
        angles: Option<&Angles>,
        real: Option<&Tensor>,
        forward: &Forward,
    ) -> Tensor {
        let (batch, time, width) = (x.size(0), x.size(1), x.size(2));
        let made: Vec<Tensor> = self
            .projections
            .iter()
            .enumerate()
            .map(|(i, part)| part.forward_in(x, &forward.layer("qkv").number(i)))
            .collect();
        let part = |i: usize| {
            let whole = if let [all] = &made[..] {
                all.narrow(2, i * width, width)
            } else {
                made[i].clone()
            };
            let part = whole.reshape([batch, time, self.heads, width / self.heads]);
            match angles.filter(|_| i < 2) {
                Some([cos, sin]) => rotary(&part, cos, sin),
                None => part,
            }
        };
        let options = AttentionOptions {
            key_padding: real,
            window: self.window,
            dropout: self.dropout.active(&forward.layer("weights")),
            ..Default::default()
        };
        let attended = attention(&part(0), &part(1), &part(2), &options);
        self.out.forward_in(&attended.reshape([batch, time, width]), &forward.layer("out"))
    }
}

impl Mlp {
    fn new(scope: &mut Scope<'_>, model: &EncoderShape, [init, init_out]: [Init; 2]) -> Self {
        let EncoderShape { width, inner, gated, activation, .. } = *model;
        let ([up, down], bias) = (model.names.mlp, model.biases[1]);
        let rows = if gated { 2 * inner } else { inner };
        Self {
            up: linear(scope, up, [width, rows], init, bias),
            down: linear(scope, down, [inner, width], init_out, bias),
            activation,
            gated,
            dropout: Dropout::new(model.dropouts.mlp[0]),
        }
    }

    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let inner = self.up.forward_in(x, &forward.layer("up"));
        let inner = if self.gated {
            let half = inner.size(2) / 2;
            self.activation.gated(&inner.narrow(2, 0, half), &inner.narrow(2, half, half))
        } else {
            self.activation.forward(&inner)
        };
        let inner = self.dropout.forward(inner, &forward.layer("inner"));
        self.down.forward_in(&inner, &forward.layer("down"))
    }
}
