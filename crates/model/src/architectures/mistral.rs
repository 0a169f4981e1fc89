//! Mistral: Llama with a window.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, Shared, decoder_config, entry, slide, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<MistralConfig>(
    "llama whose queries may see only the last tokens, with heads of any width",
    "Jiang et al., https://arxiv.org/abs/2310.06825; transformers MistralForCausalLM",
    GgufDialect::MISTRAL,
);

decoder_config! {
    /// Mistral's options, under the names of Hugging Face's `MistralConfig`; by default those of its code, about Mistral
    /// 7B.
    MistralConfig is "mistral", "MistralForCausalLM" {
        vocab_size: 32_000, hidden_size: 4096, intermediate_size: 14_336,
        num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: (default = 8), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 131_072,
        rms_norm_eps: 1e-6, tie_word_embeddings: false, rope_theta: 10_000.0, off: ["sliding_window"],
    }
    /// how many tokens a query sees, its own among them; 0: all
    #[option(default = 4096, range = 0.., aka("window"))]
    pub sliding_window: usize,
}

impl MistralConfig {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        slide(&mut shape.layers, unless_zero(self.sliding_window), None, |_| true)?;
        Ok(shape)
    }
}
