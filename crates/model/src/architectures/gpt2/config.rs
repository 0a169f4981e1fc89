//! GPT-2's options.

use rappel_config::{InvalidOption, Options, Range};
use rappel_nn::Values;
use rappel_tensor::{DType, Params};
use serde_json::{Map, Value};

use super::super::{Common, LARGEST, MOST_PARAMETERS, hugging_face};
use super::Gpt2;
use crate::{ActivationName, LanguageModel, ModelConfig};

/// GPT-2's sizes and options, under the names of Hugging Face's `GPT2Config`; by default GPT-2 124M as
/// released, in single precision.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct Gpt2Config {
    /// number of blocks
    #[option(default = 12, range = 1..=1_000)]
    #[option(aka("num_hidden_layers", "num_layers", "layers", "depth"))]
    pub n_layer: usize,
    /// attention heads of a block; must divide n_embd
    #[option(default = 12, range = 1..=LARGEST)]
    #[option(aka("num_attention_heads", "num_heads", "heads"))]
    pub n_head: usize,
    /// width of the states between blocks
    #[option(default = 768, range = 1..=LARGEST, aka("hidden_size", "d_model", "width"))]
    pub n_embd: usize,
    /// longest sequence, in tokens
    #[option(default = 1024, range = 1..=LARGEST)]
    #[option(aka("max_position_embeddings", "n_ctx", "block_size", "context_length"))]
    pub n_positions: usize,
    /// width inside a block's MLP; by default 4 n_embd
    #[option(range = 1..=LARGEST, aka("intermediate_size", "d_ff"))]
    pub n_inner: Option<usize>,
    /// number of tokens; by default those of the tokenizer
    #[option(unset = super::VOCAB_SIZE, range = 1..=LARGEST)]
    pub vocab_size: usize,
    /// function inside a block's MLP
    #[option(default = ActivationName::GeluNew)]
    #[option(aka("activation", "hidden_act"))]
    pub activation_function: ActivationName,
    /// probability for the three `_pdrop` that are not given
    #[option(default = 0.1, range = 0.0..1.0)]
    pub dropout: f64,
    /// dropout of what a block adds; by default `dropout`
    #[option(unset = dropout, range = 0.0..1.0, aka("resid_dropout"))]
    pub resid_pdrop: f64,
    /// dropout of the embeddings; by default `dropout`
    #[option(unset = dropout, range = 0.0..1.0, aka("embed_dropout"))]
    pub embd_pdrop: f64,
    /// dropout of attention; by default `dropout`
    #[option(unset = dropout, range = 0.0..1.0, aka("attention_dropout", "attn_dropout"))]
    pub attn_pdrop: f64,
    /// added to the variance in layer norms
    #[option(default = 1e-5, range = Range::above(0.0), aka("layer_norm_eps", "eps"))]
    pub layer_norm_epsilon: f64,
    /// standard deviation of the initial weights
    #[option(default = 0.02, range = 0.0.., aka("init_std"))]
    pub initializer_range: f64,
    /// divide scores by sqrt(n_embd / n_head)
    #[option(default = true)]
    pub scale_attn_weights: bool,
    /// use the token embedding as the output matrix too
    #[option(default = true, aka("tied_embeddings", "weight_tying"))]
    pub tie_word_embeddings: bool,
    /// what every architecture takes
    #[option(flatten)]
    pub common: Common,
}

impl Gpt2Config {
    /// What cannot be together.
    fn check(&self) -> Result<(), InvalidOption> {
        let Self { n_head, n_embd, .. } = *self;
        if n_embd % n_head != 0 {
            let reason = format!("{n_embd} does not split evenly into n_head = {n_head} heads");
            return Err(InvalidOption::new("n_embd", reason + "; make it a multiple"));
        }
        let parameters = self.parameters();
        if parameters > MOST_PARAMETERS {
            let reason = format!("these sizes make {parameters} parameters, at most");
            let reason = format!("{reason} {MOST_PARAMETERS} are supported; make them smaller");
            return Err(InvalidOption::new("n_embd", reason));
        }
        Ok(())
    }

    /// The same, in this type.
    #[must_use]
    pub fn with_dtype(self, dtype: DType) -> Self {
        Self { common: Common { dtype, ..self.common }, ..self }
    }

    /// Width inside a block's MLP.
    pub fn inner(&self) -> usize {
        self.n_inner.unwrap_or(self.n_embd.saturating_mul(4))
    }

    /// Weights of a block's matrices: attention's `3 C^2 + C^2`, the MLP's `2 C I`.
    fn block_weights(&self) -> u128 {
        let (width, inner) = (self.n_embd as u128, self.inner() as u128);
        let attention = width.saturating_mul(width).saturating_mul(4);
        attention.saturating_add(width.saturating_mul(inner).saturating_mul(2))
    }

    /// All parameters, without overflow for whatever sizes pass the options' ranges.
    fn parameters(&self) -> u128 {
        let (width, inner) = (self.n_embd as u128, self.inner() as u128);
        // Biases 3C + C + I + C, two norms of 2C.
        let block = self.block_weights().saturating_add(9 * width + inner);
        let tables = if self.tie_word_embeddings { 1 } else { 2 } * self.vocab_size as u128;
        let embeddings = (tables + self.n_positions as u128 + 2).saturating_mul(width);
        block.saturating_mul(self.n_layer as u128).saturating_add(embeddings)
    }
}

impl ModelConfig for Gpt2Config {
    fn model_type(&self) -> &'static str {
        "gpt2"
    }

    fn build_with(&self, params: &mut Params, values: Values) -> Box<dyn LanguageModel> {
        Box::new(Gpt2::new(params, self, values))
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut json = hugging_face(self, "GPT2LMHeadModel");
        // It only stands for the three that are there.
        json.remove("dropout");
        json
    }

    fn parameter_count(&self) -> u64 {
        self.parameters() as u64
    }

    fn flops_per_token(&self, time: usize) -> u64 {
        let head = (self.vocab_size * self.n_embd) as u64;
        let layers = self.n_layer as u64;
        // A causal token sees (time + 1) / 2 others on average; scores and their sum over values
        // cost 2 operations each per number, and twice that backwards.
        let attention = 6 * (time as u64 + 1) * self.n_embd as u64;
        6 * (layers * self.block_weights() as u64 + head) + layers * attention
    }

    fn dtype(&self) -> DType {
        self.common.dtype
    }

    fn gradient_checkpointing(&self) -> bool {
        self.common.gradient_checkpointing
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn max_positions(&self) -> usize {
        self.n_positions
    }
}
