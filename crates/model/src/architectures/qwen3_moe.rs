//! Qwen3 with mixtures of experts.

use rappel_config::{Entry, InvalidOption};

use super::Architecture;
use crate::GgufDialect;
use crate::decoder::{
    DecoderOptions, DecoderShape, ExpertsShape, QkNorm, Shared, decoder_config, entry, slide,
    unless_zero,
};

pub(super) const ENTRY: Entry<Architecture> = entry::<Qwen3MoeConfig>(
    "qwen3 whose MLP is a mixture of experts in all layers or some",
    "Yang et al., https://arxiv.org/abs/2505.09388; transformers Qwen3MoeForCausalLM",
    GgufDialect::QWEN3_MOE,
);

decoder_config! {
    /// The options of Qwen3's mixtures, under the names of Hugging Face's `Qwen3MoeConfig`; by default those of its code.
    Qwen3MoeConfig is "qwen3_moe", "Qwen3MoeForCausalLM" {
        vocab_size: 151_936, hidden_size: 2048, intermediate_size: 6144,
        num_hidden_layers: 24, num_attention_heads: 32, num_key_value_heads: (default = 4), head_dim: (),
        hidden_act: Silu, max_position_embeddings: 32_768,
        rms_norm_eps: 1e-6, tie_word_embeddings: false, rope_theta: 10_000.0,
        off: ["sliding_window"],
    }
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// whether layers have a window
    #[option(default = false)]
    pub use_sliding_window: bool,
    /// how many tokens a query sees with it, its own among them; 0: all
    #[option(default = 4096, range = 0.., aka("window"))]
    pub sliding_window: usize,
    /// experts of a layer
    #[option(default = 128, range = 1..=65_536, also = "num_local_experts")]
    pub num_experts: usize,
    /// experts that a token goes to
    #[option(default = 8, range = 1..)]
    pub num_experts_per_tok: usize,
    /// width inside an expert
    #[option(default = 768, range = 1..)]
    pub moe_intermediate_size: usize,
    /// every layer of this number has experts
    #[option(default = 1, range = 1..)]
    pub decoder_sparse_step: usize,
    /// layers, counted from 0, that have none
    #[option(default = [], range = 0..)]
    pub mlp_only_layers: Vec<usize>,
    /// divide the weights of a token's experts by their sum
    #[option(default = false)]
    pub norm_topk_prob: bool,
    /// whether the loss has a part that balances the load of the experts
    #[option(default = false)]
    pub output_router_logits: bool,
    /// factor on that part
    #[option(default = 0.001, range = 0.0..)]
    pub router_aux_loss_coef: f64,
}

impl Qwen3MoeConfig {
    fn decoder(&self, shared: &Shared<'_>) -> Result<DecoderShape, InvalidOption> {
        let mut shape = shared.llama(Self::THETA)?;
        shape.attention.qk_norm = QkNorm::Head;
        shape.attention.biases = [self.attention_bias; 2];
        let window = unless_zero(self.sliding_window).filter(|_| self.use_sliding_window);
        slide(&mut shape.layers, window, None, |_| true)?;
        let experts = ExpertsShape {
            count: self.num_experts,
            active: self.num_experts_per_tok,
            inner: self.moe_intermediate_size,
            normalised: self.norm_topk_prob,
            balance: self.output_router_logits.then_some(self.router_aux_loss_coef),
            jitter: 0.0,
            name: "mlp",
            parts: ["gate_proj", "up_proj", "down_proj"],
        };
        shape.with_experts(experts, |i| {
            !self.mlp_only_layers.contains(&i) && (i + 1) % self.decoder_sparse_step == 0
        })
    }
}
