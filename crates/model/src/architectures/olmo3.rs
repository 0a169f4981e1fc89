//! OLMo 3: OLMo 2 with a window in three of four layers.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, Norms, QkNorm, Shared, decoder_config, entry, slide, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<Olmo3Config>(
    "olmo2 with a window in three of four layers, whose positions are never stretched",
    "OLMo Team, https://arxiv.org/abs/2512.13961; transformers Olmo3ForCausalLM",
    GgufDialect::OLMO3,
);

decoder_config! {
    /// OLMo 3's options, under the names of Hugging Face's `Olmo3Config`; by default those of its code, about OLMo 3 7B.
    Olmo3Config is "olmo3", "Olmo3ForCausalLM" {
        vocab_size: 50_304, hidden_size: 4096, intermediate_size: 11_008,
        num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: (), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 2048,
        rms_norm_eps: 1e-5, tie_word_embeddings: false,
        rope_theta: 500_000.0, of_sliding_layers: 500_000.0,
        off: ["sliding_window"],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// how many tokens a query of a layer with a window sees, its own among them; 0: all
    #[option(default = 4096, range = 0.., aka("window"))]
    pub sliding_window: usize,
    /// full_attention or sliding_attention for each layer; unset: no window in every fourth
    pub layer_types: Option<Vec<String>>,
}

impl Olmo3Config {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let theta = self.rope.rope_theta.unwrap_or(Self::THETA);
        let [full, local] = self.rope.by_type(&shared.rope_defaults(Self::THETA), theta)?;
        let mut shape = shared.with_rope(&full)?;
        shape.norms = Norms::After;
        shape.attention.qk_norm = QkNorm::Whole;
        shape.attention.biases = [self.attention_bias; 2];
        let window = unless_zero(self.sliding_window);
        slide(&mut shape.layers, window, self.layer_types.as_ref(), |i| (i + 1) % 4 != 0)?;
        for layer in shape.layers.iter_mut().filter(|layer| layer.window.is_some()) {
            layer.rope = Some(local.clone());
        }
        Ok(shape)
    }
}
