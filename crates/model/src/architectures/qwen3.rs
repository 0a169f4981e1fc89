//! Qwen3: Llama with norms of queries and keys.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, QkNorm, Shared, decoder_config, entry, slide, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<Qwen3Config>(
    "llama with an RMS norm of each head's queries and keys, and heads of any width",
    "Yang et al., https://arxiv.org/abs/2505.09388; transformers Qwen3ForCausalLM",
    GgufDialect::QWEN3,
);

decoder_config! {
    /// Qwen3's options, under the names of Hugging Face's `Qwen3Config`; by default those of its code, about Qwen3 8B.
    Qwen3Config is "qwen3", "Qwen3ForCausalLM" {
        vocab_size: 151_936, hidden_size: 4096, intermediate_size: 22_016,
        num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: (default = 32),
        head_dim: (default = 128),
        hidden_act: Silu, max_position_embeddings: 32_768,
        rms_norm_eps: 1e-6, tie_word_embeddings: false, rope_theta: 10_000.0, off: ["sliding_window"],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// whether some layers have a window
    #[option(default = false)]
    pub use_sliding_window: bool,
    /// how many tokens a query of theirs sees, its own among them; 0: all
    #[option(default = 4096, range = 0.., aka("window"))]
    pub sliding_window: usize,
    /// the first layer that has one
    #[option(default = 28)]
    pub max_window_layers: usize,
    /// full_attention or sliding_attention for each layer; unset: by max_window_layers
    pub layer_types: Option<Vec<String>>,
}

impl Qwen3Config {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        shape.attention.biases = [self.attention_bias; 2];
        shape.attention.qk_norm = QkNorm::Head;
        let window = unless_zero(self.sliding_window).filter(|_| self.use_sliding_window);
        let slides = |i| i >= self.max_window_layers;
        slide(&mut shape.layers, window, self.layer_types.as_ref(), slides)?;
        Ok(shape)
    }
}
