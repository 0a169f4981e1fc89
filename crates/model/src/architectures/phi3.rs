//! Phi-3, Phi-3.5, Phi-4: Llama with fused matrices and LongRoPE.

use rappel_config::{Entry, InvalidOption, Range};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, Shared, decoder_config, entry, slide, unless_zero,
};
use crate::rope::RopeDefaults;

pub(super) const ENTRY: Entry<Architecture> = entry::<Phi3Config>(
    "llama with fused matrices, positions in a share of the channels, and dropout",
    "Abdin et al., https://arxiv.org/abs/2404.14219; transformers Phi3ForCausalLM",
    GgufDialect::PHI3,
);

decoder_config! {
    /// Phi-3's options, under the names of Hugging Face's `Phi3Config`; by default Phi-3 mini as released.
    Phi3Config is "phi3", "Phi3ForCausalLM" {
        vocab_size: 32_064, hidden_size: 3072, intermediate_size: 8192,
        num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: (), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 4096,
        rms_norm_eps: 1e-5, tie_word_embeddings: false, rope_theta: 10_000.0,
        off: ["sliding_window"],
    }
    /// dropout of what attention and the MLP add
    #[option(default = 0.0, range = 0.0..1.0, aka("resid_dropout"))]
    pub resid_pdrop: f64,
    /// dropout of the embeddings
    #[option(default = 0.0, range = 0.0..1.0, aka("embed_dropout"))]
    pub embd_pdrop: f64,
    /// length that the model was trained on before its positions were stretched
    #[option(default = 4096, range = 1..)]
    pub original_max_position_embeddings: usize,
    /// share of a head's channels that have positions
    #[option(default = 1.0, range = Range::above(0.0).to(1.0))]
    pub partial_rotary_factor: f64,
    /// how many tokens a query sees, its own among them; 0: all
    #[option(default = 0, range = 0.., aka("window"))]
    pub sliding_window: usize,
}

impl Phi3Config {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let rope = self.rope.rope(&RopeDefaults {
            original: Some(self.original_max_position_embeddings),
            partial: self.partial_rotary_factor,
            ..shared.rope_defaults(Self::THETA)
        })?;
        let mut shape = shared.with_rope(&rope)?;
        shape.attention.fused = true;
        shape.mlp.fused = true;
        shape.dropouts = [self.embd_pdrop, self.resid_pdrop];
        slide(&mut shape.layers, unless_zero(self.sliding_window), None, |_| true)?;
        Ok(shape)
    }
}
