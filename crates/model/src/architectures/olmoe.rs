//! OLMoE: a mixture of many small experts.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, ExpertsShape, QkNorm, Shared, decoder_config, entry, unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<OlmoeConfig>(
    "llama with norms of all queries and all keys, whose MLP is a mixture of many small experts",
    "Muennighoff et al., https://arxiv.org/abs/2409.02060; transformers OlmoeForCausalLM",
    GgufDialect::OLMOE,
);

decoder_config! {
    /// OLMoE's options, under the names of Hugging Face's `OlmoeConfig`; by default OLMoE 1B-7B.
    OlmoeConfig is "olmoe", "OlmoeForCausalLM" {
        vocab_size: 50_304, hidden_size: 2048, intermediate_size: 2048,
        num_hidden_layers: 16, num_attention_heads: 16, num_key_value_heads: (), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 4096,
        rms_norm_eps: 1e-5, tie_word_embeddings: false, rope_theta: 10_000.0,
        off: ["clip_qkv"],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// largest size of a number of queries, keys and values; 0: any
    #[option(default = 0.0, range = 0.0..)]
    pub clip_qkv: f64,
    /// experts of a layer
    #[option(default = 64, range = 1..=65_536, also = "num_local_experts")]
    pub num_experts: usize,
    /// experts that a token goes to
    #[option(default = 8, range = 1..)]
    pub num_experts_per_tok: usize,
    /// divide the weights of a token's experts by their sum
    #[option(default = false)]
    pub norm_topk_prob: bool,
    /// whether the loss has a part that balances the load of the experts
    #[option(default = false)]
    pub output_router_logits: bool,
    /// factor on that part
    #[option(default = 0.01, range = 0.0..)]
    pub router_aux_loss_coef: f64,
}

impl OlmoeConfig {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        shape.attention.qk_norm = QkNorm::Whole;
        shape.attention.clip = unless_zero(self.clip_qkv);
        shape.attention.biases = [self.attention_bias; 2];
        let experts = ExpertsShape {
            count: self.num_experts,
            active: self.num_experts_per_tok,
            inner: self.intermediate_size,
            normalised: self.norm_topk_prob,
            balance: self.output_router_logits.then_some(self.router_aux_loss_coef),
            jitter: 0.0,
            name: "mlp",
            parts: ["gate_proj", "up_proj", "down_proj"],
        };
        shape.with_experts(experts, |_| true)
    }
}
