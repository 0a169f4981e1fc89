//! One block of GPT-2.

use rappel_nn::{Activation, Dropout, Forward, LayerNorm, TransposedLinear, Values};
use rappel_tensor::{AttentionOptions, Scope, Tensor, attention, attention_packed};

use super::Gpt2Config;
use crate::cache::{Cache, Layer};

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Debug, Clone)]
pub(super) struct Block {
    ln_1: LayerNorm,
    c_attn: TransposedLinear,
    attn_proj: TransposedLinear,
    ln_2: LayerNorm,
    c_fc: TransposedLinear,
    mlp_proj: TransposedLinear,
    activation: Activation,
    n_head: usize,
    scale: f64,
    attn_dropout: Dropout,
    resid_dropout: Dropout,
}

impl Block {
    /// The order of registration is that of transformers.
    pub fn new(scope: &mut Scope<'_>, config: &Gpt2Config, values: Values) -> Self {
        let (width, inner, eps) = (config.n_embd, config.inner(), config.layer_norm_epsilon);
        let std = config.initializer_range;
        let init = values.normal(std);
        // Each of the 2 n_layer branches adds to the residual stream; this keeps their sum's size.
        let projection = values.normal(std / (2.0 * config.n_layer as f64).sqrt());
        let head_width = (width / config.n_head) as f64;
        Self {
            ln_1: LayerNorm::new(&mut scope.scope("ln_1"), width, eps),
            c_attn: TransposedLinear::new(&mut scope.scope("attn.c_attn"), width, 3 * width, init),
            attn_proj: TransposedLinear::new(
                &mut scope.scope("attn.c_proj"),
                width,
                width,
                projection,
            ),
            ln_2: LayerNorm::new(&mut scope.scope("ln_2"), width, eps),
            c_fc: TransposedLinear::new(&mut scope.scope("mlp.c_fc"), width, inner, init),
            mlp_proj: TransposedLinear::new(
                &mut scope.scope("mlp.c_proj"),
                inner,
                width,
                projection,
            ),
            activation: config.activation(),
            n_head: config.n_head,
            scale: if config.scale_attn_weights { head_width.sqrt().recip() } else { 1.0 },
            attn_dropout: Dropout::of_attention(config.attn_pdrop),
            resid_dropout: Dropout::new(config.resid_pdrop),
        }
    }

    /// `[batch, time, width]` to the same.
    pub fn forward(&self, x: &Tensor, documents: Option<&Tensor>, forward: &Forward) -> Tensor {
        let attend = |qkv: &Tensor| {
            let options = AttentionOptions {
                causal: true,
                scale: Some(self.scale),
                documents,
                dropout: self.attn_dropout.active(&forward.layer("attn.attn_dropout")),
                ..AttentionOptions::default()
            };
            attention_packed(qkv, self.n_head, &options)
        };
        self.residual(x, forward, attend)
    }

    /// The same for tokens that follow those of `cache`, which then holds them too.
    pub fn decode(&self, x: &Tensor, layer: usize, cache: &mut Cache) -> Tensor {
        self.residual(x, &Forward::evaluation(), |qkv| {
            let (batch, time, width) = (x.size(0), x.size(1), x.size(2));
            let heads = qkv.reshape([batch, time, 3, self.n_head, width / self.n_head]);
            let part = |i| heads.narrow(2, i, 1).squeeze(2);
            let Layer { keys, values } = cache.append(layer, &part(1), &part(2));
            let options = AttentionOptions {
                causal: true,
                scale: Some(self.scale),
                ..AttentionOptions::default()
            };
            attention(&part(0), &keys, &values, &options).reshape([batch, time, width])
        })
    }

    fn residual(
        &self,
        x: &Tensor,
        forward: &Forward,
        attend: impl FnOnce(&Tensor) -> Tensor,
    ) -> Tensor {
        let attended = &attend(&self.c_attn.forward_in(&self.ln_1.forward(x), forward));
        let attended = self.attn_proj.forward_in(attended, forward);
        let attended = self.resid_dropout.forward(attended, &forward.layer("attn.resid_dropout"));
        let x = forward.layer("attn").residual(x, attended);
        let inner = self.activation.forward(&self.c_fc.forward_in(&self.ln_2.forward(&x), forward));
        let added = self.mlp_proj.forward_in(&inner, forward);
        let added = self.resid_dropout.forward(added, &forward.layer("mlp.dropout"));
        forward.layer("mlp").residual(&x, added)
    }
}
