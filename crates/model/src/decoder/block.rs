//! One layer of a decoder.

use rappel_nn::{Dropout, Forward, GatedMlp, RmsNorm, Values};
use rappel_tensor::{Scope, Tensor};

use super::attention::Attention;
use super::experts::{Experts, Load};
use super::shape::{DecoderShape, LayerShape, MlpShape, Norms};
use crate::cache::Cache;
use crate::rope::Angles;

/// `x + attention(x)`, then `x + mlp(x)`, with norms before or after each, or both.
#[derive(Debug, Clone)]
pub(super) struct Block {
    attention: Attention,
    mlp: Mlp,
    /// Before attention, on what it adds, before the MLP, on what that adds.
    norms: [Option<RmsNorm>; 4],
    dropout: Dropout,
}

#[derive(Debug, Clone)]
enum Mlp {
    Dense(GatedMlp),
    Experts(Experts),
}

impl Block {
    /// The order of registration is that of transformers.
    pub fn new(
        scope: &mut Scope<'_>,
        model: &DecoderShape,
        layer: &LayerShape,
        values: Values,
    ) -> Self {
        let init = values.normal(model.std);
        let attention = Attention::new(&mut scope.scope("self_attn"), model, layer, init);
        let mlp = match model.experts.as_ref().filter(|_| layer.sparse) {
            Some(shape) => {
                let activation = model.mlp.activation;
                let scope = &mut scope.scope(shape.name);
                Mlp::Experts(Experts::new(scope, shape, model.width, activation, init))
            }
            None => Mlp::Dense(dense(&mut scope.scope("mlp"), model, init)),
        };
        let names = match model.norms {
            Norms::Before => {
                [Some("input_layernorm"), None, Some("post_attention_layernorm"), None]
            }
            Norms::After => {
                [None, Some("post_attention_layernorm"), None, Some("post_feedforward_layernorm")]
            }
            Norms::AroundPlusOne => [
                Some("input_layernorm"),
                Some("post_attention_layernorm"),
                Some("pre_feedforward_layernorm"),
                Some("post_feedforward_layernorm"),
            ],
        };
        let norms =
            names.map(|name| name.map(|name| model.norm(&mut scope.scope(name), model.width)));
        Self { attention, mlp, norms, dropout: Dropout::new(model.dropouts[1]) }
    }

    /// `[batch, time, width]` to the same, and the load of the experts where somebody asks for it.
    pub fn forward(
        &self,
        x: &Tensor,
        angles: Option<&Angles>,
        documents: Option<&Tensor>,
        forward: &Forward,
    ) -> (Tensor, Option<Load>) {
        let attend =
            |x: &Tensor| self.attention.forward(x, angles, documents, &forward.layer("self_attn"));
        self.residual(x, forward, attend)
    }

    /// The same for tokens that follow those of `cache`, which then holds them too.
    pub fn decode(
        &self,
        x: &Tensor,
        angles: Option<&Angles>,
        layer: usize,
        cache: &mut Cache,
    ) -> Tensor {
        let attend = |x: &Tensor| self.attention.decode(x, angles, layer, cache);
        self.residual(x, &Forward::evaluation(), attend).0
    }

    fn residual(
        &self,
        x: &Tensor,
        forward: &Forward,
        attend: impl FnOnce(&Tensor) -> Tensor,
    ) -> (Tensor, Option<Load>) {
        let norm = |i: usize, x: Tensor| match &self.norms[i] {
            Some(norm) => norm.forward(&x),
            None => x,
        };
        let add = |x: &Tensor, branch: Tensor, name: &str| {
            let forward = forward.layer(name);
            forward.residual(x, self.dropout.forward(branch, &forward.layer("dropout")))
        };
        let attended = norm(1, attend(&norm(0, x.clone())));
        let x = add(x, attended, "attention");
        let inner = norm(2, x.clone());
        let (inner, load) = match &self.mlp {
            Mlp::Dense(mlp) => (mlp.forward_in(&inner, &forward.layer("mlp")), None),
            Mlp::Experts(experts) => experts.forward(&inner, &forward.layer("experts")),
        };
        (add(&x, norm(3, inner), "mlp"), load)
    }
}

fn dense(scope: &mut Scope<'_>, model: &DecoderShape, init: rappel_tensor::Init) -> GatedMlp {
    let MlpShape { inner, activation, bias, fused } = model.mlp;
    let sizes = [model.width, inner];
    if fused {
        GatedMlp::fused(scope, ["gate_up_proj", "down_proj"], sizes, activation, init)
    } else {
        let names = ["gate_proj", "up_proj", "down_proj"];
        GatedMlp::new(scope, names, sizes, activation, init, bias)
    }
}
