//! SmolLM3: Llama with layers that know nothing of positions.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, Shared, decoder_config, entry, slide, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<SmolLm3Config>(
    "llama without positions in every fourth layer",
    "Bakouch et al., https://huggingface.co/blog/smollm3; transformers SmolLM3ForCausalLM",
    GgufDialect::SMOLLM3,
);

decoder_config! {
    /// SmolLM3's options, under the names of Hugging Face's `SmolLM3Config`; by default SmolLM3 3B as released.
    SmolLm3Config is "smollm3", "SmolLM3ForCausalLM" {
        vocab_size: 128_256, hidden_size: 2048, intermediate_size: 11_008,
        num_hidden_layers: 36, num_attention_heads: 16, num_key_value_heads: (default = 4), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 32_768,
        rms_norm_eps: 1e-6, tie_word_embeddings: true, rope_theta: 2_000_000.0, off: ["sliding_window"],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// biases in those of the MLP
    #[option(default = false)]
    pub mlp_bias: bool,
    /// 1 for each layer with positions, 0 for each without; unset: by no_rope_layer_interval
    #[option(range = 0..)]
    pub no_rope_layers: Option<Vec<usize>>,
    /// every layer of this number has no positions
    #[option(default = 4, range = 1..)]
    pub no_rope_layer_interval: usize,
    /// whether layers without positions have a window
    #[option(default = false)]
    pub use_sliding_window: bool,
    /// how many tokens a query of theirs sees, its own among them; 0: all
    #[option(default = 0, range = 0.., aka("window"))]
    pub sliding_window: usize,
    /// full_attention or sliding_attention for each layer; unset: by use_sliding_window
    pub layer_types: Option<Vec<String>>,
}

impl SmolLm3Config {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        shape.attention.biases = [self.attention_bias; 2];
        shape.mlp.bias = self.mlp_bias;
        let layers = shape.layers.len();
        let given = self.no_rope_layers.as_deref();
        if let Some(given) = given.filter(|given| given.len() < layers) {
            let reason = format!("{} numbers for {layers} layers; give one for each", given.len());
            return Err(InvalidOption::new("no_rope_layers", reason));
        }
        let has_rope = |i: usize| {
            given
                .map_or(!(i + 1).is_multiple_of(self.no_rope_layer_interval), |given| given[i] != 0)
        };
        for (i, layer) in shape.layers.iter_mut().enumerate() {
            layer.rope = layer.rope.take().filter(|_| has_rope(i));
        }
        let slides = |i| self.use_sliding_window && !has_rope(i);
        let window = unless_zero(self.sliding_window);
        slide(&mut shape.layers, window, self.layer_types.as_ref(), slides)?;
        Ok(shape)
    }
}
