//! Gemma 3 for text: five layers with a window for each without, with positions of their own.

use rappel_config::{Entry, InvalidOption, Range};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, Norms, QkNorm, Shared, decoder_config, entry, slide, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<Gemma3TextConfig>(
    "gemma2 with norms of queries and keys instead of limits, and a window in five of six layers",
    "Gemma Team, https://arxiv.org/abs/2503.19786; transformers Gemma3ForCausalLM",
    GgufDialect::GEMMA3,
);

decoder_config! {
    /// The options of Gemma 3 for text, under the names of Hugging Face's `Gemma3TextConfig`; by default those of its
    /// code, about Gemma 3 1B.
    Gemma3TextConfig is "gemma3_text", "Gemma3ForCausalLM" {
        vocab_size: 262_208, hidden_size: 2304, intermediate_size: 9216,
        num_hidden_layers: 26, num_attention_heads: 8, num_key_value_heads: (default = 4),
        head_dim: (default = 256),
        hidden_activation: GeluPytorchTanh, max_position_embeddings: 131_072,
        rms_norm_eps: 1e-6, tie_word_embeddings: true,
        rope_theta: 1_000_000.0, of_sliding_layers: 10_000.0,
        off: ["final_logit_softcapping"],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// scores are divided by its root
    #[option(default = 256, range = 1..)]
    pub query_pre_attn_scalar: usize,
    /// how many tokens a query of a layer with a window sees, its own among them
    #[option(default = 4096, range = 1.., aka("window"))]
    pub sliding_window: usize,
    /// every layer of this number has no window
    #[option(default = 6, range = 1.., also = "_sliding_window_pattern")]
    pub sliding_window_pattern: usize,
    /// full_attention or sliding_attention for each layer; unset: by sliding_window_pattern
    pub layer_types: Option<Vec<String>>,
    /// base of the frequencies of layers with a window
    #[option(range = Range::above(0.0))]
    pub rope_local_base_freq: Option<f64>,
    /// soft limit on logits; 0: none
    #[option(default = 0.0, range = 0.0..)]
    pub final_logit_softcapping: f64,
}

impl Gemma3TextConfig {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let local = self.rope_local_base_freq.unwrap_or(Self::LOCAL_THETA[0]);
        let [full, local] = self.rope.by_type(&shared.rope_defaults(Self::THETA), local)?;
        let mut shape = shared.with_rope(&full)?;
        shape.norms = Norms::AroundPlusOne;
        shape.embedding_scale = Some((self.hidden_size as f64).sqrt());
        shape.softcap = unless_zero(self.final_logit_softcapping);
        shape.attention.scale = (self.query_pre_attn_scalar as f64).sqrt().recip();
        shape.attention.biases = [self.attention_bias; 2];
        shape.attention.qk_norm = QkNorm::Head;
        let slides = |i| (i + 1) % self.sliding_window_pattern != 0;
        let window = Some(self.sliding_window);
        slide(&mut shape.layers, window, self.layer_types.as_ref(), slides)?;
        for layer in shape.layers.iter_mut().filter(|layer| layer.window.is_some()) {
            layer.rope = Some(local.clone());
        }
        Ok(shape)
    }
}
