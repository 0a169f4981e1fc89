//! OLMo 2: norms on what each part adds, and on queries and keys.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{DecoderOptions, DecoderShape, Norms, QkNorm, Shared, decoder_config, entry};

pub(super) const ENTRY: Entry<Architecture> = entry::<Olmo2Config>(
    "llama with RMS norm on what each part adds, and on all queries and all keys",
    "OLMo et al., https://arxiv.org/abs/2501.00656; transformers Olmo2ForCausalLM",
    GgufDialect::OLMO2,
);

decoder_config! {
    /// OLMo 2's options, under the names of Hugging Face's `Olmo2Config`; by default those of its code, about OLMo 2 7B.
    Olmo2Config is "olmo2", "Olmo2ForCausalLM" {
        vocab_size: 50_304, hidden_size: 4096, intermediate_size: 11_008,
        num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: (), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 2048,
        rms_norm_eps: 1e-5, tie_word_embeddings: false, rope_theta: 10_000.0, off: [],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
}

impl Olmo2Config {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        shape.norms = Norms::After;
        shape.attention.qk_norm = QkNorm::Whole;
        shape.attention.biases = [self.attention_bias; 2];
        Ok(shape)
    }
}
