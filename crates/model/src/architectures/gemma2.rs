//! Gemma 2: norms around each part, limits on scores and logits, a window in every other layer.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, Norms, Shared, decoder_config, entry, slide, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<Gemma2Config>(
    "decoder with norms around each part, a GeGLU MLP, soft limits, and a window in every other layer",
    "Riviere et al., https://arxiv.org/abs/2408.00118; transformers Gemma2ForCausalLM",
    GgufDialect::GEMMA2,
);

decoder_config! {
    /// Gemma 2's options, under the names of Hugging Face's `Gemma2Config`; by default Gemma 2 2B as released.
    Gemma2Config is "gemma2", "Gemma2ForCausalLM" {
        vocab_size: 256_000, hidden_size: 2304, intermediate_size: 9216,
        num_hidden_layers: 26, num_attention_heads: 8, num_key_value_heads: (default = 4),
        head_dim: (default = 256),
        hidden_activation: GeluPytorchTanh, max_position_embeddings: 8192,
        rms_norm_eps: 1e-6, tie_word_embeddings: true, rope_theta: 10_000.0,
        off: ["attn_logit_softcapping", "final_logit_softcapping", "sliding_window"],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// scores are divided by its root
    #[option(default = 256, range = 1..)]
    pub query_pre_attn_scalar: usize,
    /// how many tokens a query of a layer with a window sees, its own among them; 0: all
    #[option(default = 4096, range = 0.., aka("window"))]
    pub sliding_window: usize,
    /// full_attention or sliding_attention for each layer; unset: a window in the first, third and so on
    pub layer_types: Option<Vec<String>>,
    /// soft limit on scores; 0: none
    #[option(default = 50.0, range = 0.0..)]
    pub attn_logit_softcapping: f64,
    /// soft limit on logits; 0: none
    #[option(default = 30.0, range = 0.0..)]
    pub final_logit_softcapping: f64,
}

impl Gemma2Config {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        shape.norms = Norms::AroundPlusOne;
        shape.embedding_scale = Some((self.hidden_size as f64).sqrt());
        shape.softcap = unless_zero(self.final_logit_softcapping);
        shape.attention.scale = (self.query_pre_attn_scalar as f64).sqrt().recip();
        shape.attention.softcap = unless_zero(self.attn_logit_softcapping);
        shape.attention.biases = [self.attention_bias; 2];
        let window = unless_zero(self.sliding_window);
        slide(&mut shape.layers, window, self.layer_types.as_ref(), |i| i % 2 == 0)?;
        Ok(shape)
    }
}
