//! Mixtral: Mistral whose MLP is a mixture of experts.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, ExpertsShape, Shared, decoder_config, entry, slide, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<MixtralConfig>(
    "mistral whose MLP is a mixture of experts, weighted by a softmax over those chosen",
    "Jiang et al., https://arxiv.org/abs/2401.04088; transformers MixtralForCausalLM",
    GgufDialect::MIXTRAL,
);

decoder_config! {
    /// Mixtral's options, under the names of Hugging Face's `MixtralConfig`; by default Mixtral 8x7B.
    MixtralConfig is "mixtral", "MixtralForCausalLM" {
        vocab_size: 32_000, hidden_size: 4096, intermediate_size: 14_336,
        num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: (default = 8), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 131_072,
        rms_norm_eps: 1e-5, tie_word_embeddings: false, rope_theta: 1_000_000.0,
        off: ["sliding_window"],
    }
    /// how many tokens a query sees, its own among them; 0: all
    #[option(default = 0, range = 0.., aka("window"))]
    pub sliding_window: usize,
    /// experts of a layer
    #[option(default = 8, range = 1..=65_536, also = "num_experts")]
    pub num_local_experts: usize,
    /// experts that a token goes to
    #[option(default = 2, range = 1..)]
    pub num_experts_per_tok: usize,
    /// whether the loss has a part that balances the load of the experts
    #[option(default = false)]
    pub output_router_logits: bool,
    /// factor on that part
    #[option(default = 0.001, range = 0.0..)]
    pub router_aux_loss_coef: f64,
    /// in training the router sees numbers times up to 1 plus or minus this
    #[option(default = 0.0, range = 0.0..1.0)]
    pub router_jitter_noise: f64,
}

impl MixtralConfig {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        slide(&mut shape.layers, unless_zero(self.sliding_window), None, |_| true)?;
        let experts = ExpertsShape {
            count: self.num_local_experts,
            active: self.num_experts_per_tok,
            inner: self.intermediate_size,
            normalised: true,
            balance: self.output_router_logits.then_some(self.router_aux_loss_coef),
            jitter: self.router_jitter_noise,
            name: "block_sparse_moe",
            parts: ["w1", "w3", "w2"],
        };
        shape.with_experts(experts, |_| true)
    }
}
