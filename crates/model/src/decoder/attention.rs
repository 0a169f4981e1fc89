//! Attention of a decoder's layer.

use rappel_nn::{Dropout, Forward, Linear, RmsNorm};
use rappel_tensor::{AttentionOptions, Init, Scope, Tensor, attention, rotary};

use super::shape::{AttentionShape, DecoderShape, LayerShape, Norms, QkNorm};
use crate::cache::{Cache, Layer};
use crate::rope::Angles;

/// Grouped heads with rotary positions.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    shape: AttentionShape,
    projections: Projections,
    out: Linear,
    norms: Option<[RmsNorm; 2]>,
    window: Option<usize>,
    dropout: Dropout,
}

#[derive(Debug, Clone)]
enum Projections {
    Apart(Box<[Linear; 3]>),
    /// Queries, then keys, then values.
    Fused(Linear),
}

impl Attention {
    pub fn new(
        scope: &mut Scope<'_>,
        model: &DecoderShape,
        layer: &LayerShape,
        init: Init,
    ) -> Self {
        let shape = model.attention.clone();
        let AttentionShape { heads, kv_heads, dim, biases: [bias, out_bias], .. } = shape;
        let [queries, keys] = [heads * dim, kv_heads * dim];
        let mut linear = |name: &str, from: usize, to: usize, bias: bool| {
            Linear::with_zero_bias(&mut scope.scope(name), from, to, init, bias)
        };
        let projections = if shape.fused {
            Projections::Fused(linear("qkv_proj", model.width, queries + 2 * keys, bias))
        } else {
            let parts = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)];
            let parts = parts.map(|(name, to)| linear(name, model.width, to, bias));
            Projections::Apart(Box::new(parts))
        };
        let out = linear("o_proj", queries, model.width, out_bias);
        let norms = match shape.qk_norm {
            QkNorm::None => None,
            QkNorm::Head => Some([dim, dim]),
            QkNorm::Whole => Some([queries, keys]),
        };
        let norms = norms.map(|[queries, keys]| {
            let mut norm = |name: &str, size| model.norm(&mut scope.scope(name), size);
            [norm("q_norm", queries), norm("k_norm", keys)]
        });
        let dropout = Dropout::of_attention(shape.dropout);
        Self { shape, projections, out, norms, window: layer.window, dropout }
    }

    /// What `[batch, time, width]` adds to itself.
    pub fn forward(
        &self,
        x: &Tensor,
        angles: Option<&Angles>,
        documents: Option<&Tensor>,
        forward: &Forward,
    ) -> Tensor {
        let [q, k, v] = self.heads(x, angles, forward);
        let options = AttentionOptions {
            documents,
            dropout: self.dropout.active(&forward.layer("dropout")),
            ..self.options()
        };
        self.out(&attention(&q, &k, &v, &options), forward)
    }

    /// The same for tokens that follow those of `cache`, which then holds them too.
    pub fn decode(
        &self,
        x: &Tensor,
        angles: Option<&Angles>,
        layer: usize,
        cache: &mut Cache,
    ) -> Tensor {
        let forward = Forward::evaluation();
        let [q, k, v] = self.heads(x, angles, &forward);
        let Layer { keys, values } = cache.append(layer, &k, &v);
        self.out(&attention(&q, &keys, &values, &self.options()), &forward)
    }

    fn options(&self) -> AttentionOptions<'static> {
        let AttentionShape { scale, softcap, .. } = self.shape;
        let window = self.window;
        AttentionOptions { causal: true, scale: Some(scale), window, softcap, ..Default::default() }
    }

    /// Queries, keys and values `[batch, time, heads, dim]`, with their norms and positions.
    fn heads(&self, x: &Tensor, angles: Option<&Angles>, forward: &Forward) -> [Tensor; 3] {
        let AttentionShape { heads, kv_heads, dim, qk_norm, clip, .. } = self.shape;
        let sizes = [heads, kv_heads, kv_heads];
        let mut parts = match &self.projections {
            Projections::Apart(parts) => parts.each_ref().map(|part| part.forward_in(x, forward)),
            Projections::Fused(all) => {
                let all = all.forward_in(x, forward);
                let starts = [0, heads, heads + kv_heads];
                [0, 1, 2].map(|i| all.narrow(2, starts[i] * dim, sizes[i] * dim))
            }
        };
        let norm = |i: usize, x: &Tensor| match &self.norms {
            Some(norms) if i < 2 => norms[i].forward(x),
            _ => x.clone(),
        };
        let apart = |i: usize, x: &Tensor| x.reshape([x.size(0), x.size(1), sizes[i], dim]);
        for (i, part) in parts.iter_mut().enumerate() {
            if qk_norm == QkNorm::Whole {
                *part = norm(i, part);
            }
            if let Some(clip) = clip {
                *part = part.clamp(-clip, clip);
            }
            *part = apart(i, part);
            if qk_norm == QkNorm::Head {
                *part = norm(i, part);
            }
            if let Some([cos, sin]) = angles.filter(|_| i < 2) {
                *part = rotary(part, cos, sin);
            }
        }
        parts
    }

    /// `[batch, time, heads, dim]` back to `[batch, time, width]`.
    fn out(&self, attended: &Tensor, forward: &Forward) -> Tensor {
        let AttentionShape { heads, dim, .. } = self.shape;
        let (batch, time) = (attended.size(0), attended.size(1));
        self.out.forward_in(&attended.reshape([batch, time, heads * dim]), forward)
    }
}

impl DecoderShape {
    /// A norm over `size` numbers of the kind that the model has everywhere.
    pub(super) fn norm(&self, scope: &mut Scope<'_>, size: usize) -> RmsNorm {
        match self.norms {
            Norms::AroundPlusOne => RmsNorm::plus_one(scope, size, self.rms_eps),
            Norms::Before | Norms::After => RmsNorm::new(scope, size, self.rms_eps),
        }
    }
}
