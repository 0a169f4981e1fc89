//! Llama, and what shares its form: SmolLM2, TinyLlama.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{DecoderOptions, DecoderShape, Shared, decoder_config, entry};

pub(super) const ENTRY: Entry<Architecture> = entry::<LlamaConfig>(
    "decoder with rotary positions, RMS norm before each part, and a SwiGLU MLP",
    "Touvron et al., https://arxiv.org/abs/2302.13971; transformers LlamaForCausalLM",
    GgufDialect::LLAMA,
);

decoder_config! {
    /// Llama's options, under the names of Hugging Face's `LlamaConfig`; by default Llama 7B as released.
    LlamaConfig is "llama", "LlamaForCausalLM" {
        vocab_size: 32_000, hidden_size: 4096, intermediate_size: 11_008,
        num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: (), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 2048,
        rms_norm_eps: 1e-6, tie_word_embeddings: false, rope_theta: 10_000.0, off: [],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// biases in those of the MLP
    #[option(default = false)]
    pub mlp_bias: bool,
}

impl LlamaConfig {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        shape.attention.biases = [self.attention_bias; 2];
        shape.mlp.bias = self.mlp_bias;
        Ok(shape)
    }
}
