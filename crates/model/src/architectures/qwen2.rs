//! Qwen2 and Qwen2.5: Llama with biases of queries, keys and values.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, Shared, decoder_config, entry, slide, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<Qwen2Config>(
    "llama with biases of queries, keys and values, and a window in the last layers",
    "Yang et al., https://arxiv.org/abs/2407.10671; transformers Qwen2ForCausalLM",
    GgufDialect::QWEN2,
);

decoder_config! {
    /// Qwen2's options, under the names of Hugging Face's `Qwen2Config`; by default those of its code, about Qwen2 7B.
    Qwen2Config is "qwen2", "Qwen2ForCausalLM" {
        vocab_size: 151_936, hidden_size: 4096, intermediate_size: 22_016,
        num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: (default = 32), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 32_768,
        rms_norm_eps: 1e-6, tie_word_embeddings: false, rope_theta: 10_000.0, off: ["sliding_window"],
    }
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

impl Qwen2Config {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        shape.attention.biases = [true, false];
        let window = unless_zero(self.sliding_window).filter(|_| self.use_sliding_window);
        let slides = |i| i >= self.max_window_layers;
        slide(&mut shape.layers, window, self.layer_types.as_ref(), slides)?;
        Ok(shape)
    }
}
