//! GPT-2's options.

use rappel_nn::{Activation, Values};
use rappel_registry::{ConfigError, Field, Kind, Options, Range};
use rappel_tensor::{DType, Params};
use serde_json::{Map, Value, json};

use super::super::dtype;
use super::Gpt2;
use crate::{LanguageModel, ModelConfig};

const SIZE: Kind = Kind::Int { min: 1, max: 1 << 32 };
const PROBABILITY: Kind = Kind::Float(Range::from(0.0).below(1.0));

/// More parameters than this are taken for a mistake.
const MOST_PARAMETERS: u128 = 1 << 40;

pub(super) const FIELDS: &[Field] = &[
    Field::new("n_layer", Kind::Int { min: 1, max: 1_000 }, "12", "number of blocks").aka(&[
        "num_hidden_layers",
        "num_layers",
        "layers",
        "depth",
    ]),
    Field::new("n_head", SIZE, "12", "attention heads of a block; must divide n_embd").aka(&[
        "num_attention_heads",
        "num_heads",
        "heads",
    ]),
    Field::new("n_embd", SIZE, "768", "width of the states between blocks").aka(&[
        "hidden_size",
        "d_model",
        "width",
    ]),
    Field::new("n_positions", SIZE, "1024", "longest sequence, in tokens").aka(&[
        "max_position_embeddings",
        "n_ctx",
        "block_size",
        "context_length",
    ]),
    Field::optional("n_inner", SIZE, "width inside a block's MLP; by default 4 n_embd")
        .aka(&["intermediate_size", "d_ff"]),
    Field::optional("vocab_size", SIZE, "number of tokens; by default those of the tokenizer"),
    Field::new(
        "activation_function",
        Kind::OneOf(Activation::NAMES),
        "\"gelu_new\"",
        "function inside a block's MLP",
    )
    .aka(&["activation", "hidden_act"]),
    Field::new(
        "dropout",
        PROBABILITY,
        "0.1",
        "probability for the three `_pdrop` that are not given",
    ),
    Field::optional(
        "resid_pdrop",
        PROBABILITY,
        "dropout of what a block adds; by default `dropout`",
    )
    .aka(&["resid_dropout"]),
    Field::optional("embd_pdrop", PROBABILITY, "dropout of the embeddings; by default `dropout`")
        .aka(&["embed_dropout"]),
    Field::optional("attn_pdrop", PROBABILITY, "dropout of attention; by default `dropout`")
        .aka(&["attention_dropout", "attn_dropout"]),
    Field::new(
        "layer_norm_epsilon",
        Kind::Float(Range::above(0.0)),
        "1e-5",
        "added to the variance in layer norms",
    )
    .aka(&["layer_norm_eps", "eps"]),
    Field::new(
        "initializer_range",
        Kind::Float(Range::from(0.0)),
        "0.02",
        "standard deviation of the initial weights",
    )
    .aka(&["init_std"]),
    Field::new("scale_attn_weights", Kind::Bool, "true", "divide scores by sqrt(n_embd / n_head)"),
    Field::new(
        "tie_word_embeddings",
        Kind::Bool,
        "true",
        "use the token embedding as the output matrix too",
    )
    .aka(&["tied_embeddings", "weight_tying"]),
];

/// GPT-2's sizes and options, under the names of Hugging Face's `GPT2Config`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpt2Config {
    /// Number of blocks.
    pub n_layer: usize,
    /// Attention heads of a block; divides `n_embd`.
    pub n_head: usize,
    /// Width of the states between blocks.
    pub n_embd: usize,
    /// Longest sequence, in tokens.
    pub n_positions: usize,
    /// Width inside a block's MLP; `None` for `4 n_embd`.
    pub n_inner: Option<usize>,
    /// Number of tokens.
    pub vocab_size: usize,
    /// Function inside a block's MLP, one of [`Activation::NAMES`].
    pub activation_function: String,
    /// Dropout of what attention and the MLP add, in `[0, 1)`.
    pub resid_pdrop: f64,
    /// Dropout of the embeddings, in `[0, 1)`.
    pub embd_pdrop: f64,
    /// Dropout of attention's weights, in `[0, 1)`.
    pub attn_pdrop: f64,
    /// Added to the variance in layer norms.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// Whether scores are divided by the root of a head's width.
    pub scale_attn_weights: bool,
    /// Whether the token embedding is the output matrix too.
    pub tie_word_embeddings: bool,
    /// Whether blocks are computed again in the backward pass instead of kept.
    pub gradient_checkpointing: bool,
    /// Type of parameters and activations.
    pub dtype: DType,
}

impl Default for Gpt2Config {
    /// GPT-2 124M as released, in single precision.
    fn default() -> Self {
        Self {
            n_layer: 12,
            n_head: 12,
            n_embd: 768,
            n_positions: 1024,
            n_inner: None,
            vocab_size: super::VOCAB_SIZE,
            activation_function: "gelu_new".to_owned(),
            resid_pdrop: 0.1,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            scale_attn_weights: true,
            tie_word_embeddings: true,
            gradient_checkpointing: false,
            dtype: DType::F32,
        }
    }
}

pub(super) fn configure(
    options: &Options,
    tokens: Option<usize>,
) -> Result<Box<dyn ModelConfig>, ConfigError> {
    let dropout = |key| options.opt_f64(key).unwrap_or_else(|| options.f64("dropout"));
    let config = Gpt2Config {
        n_layer: options.usize("n_layer"),
        n_head: options.usize("n_head"),
        n_embd: options.usize("n_embd"),
        n_positions: options.usize("n_positions"),
        n_inner: options.opt_usize("n_inner"),
        vocab_size: vocab_size(options, tokens)?,
        activation_function: options.str("activation_function").to_owned(),
        resid_pdrop: dropout("resid_pdrop"),
        embd_pdrop: dropout("embd_pdrop"),
        attn_pdrop: dropout("attn_pdrop"),
        layer_norm_epsilon: options.f64("layer_norm_epsilon"),
        initializer_range: options.f64("initializer_range"),
        scale_attn_weights: options.bool("scale_attn_weights"),
        tie_word_embeddings: options.bool("tie_word_embeddings"),
        gradient_checkpointing: options.bool("gradient_checkpointing"),
        dtype: dtype(options),
    };
    match config.fault() {
        Some((key, reason)) => Err(options.invalid(key, reason)),
        None => Ok(Box::new(config)),
    }
}

fn vocab_size(options: &Options, tokens: Option<usize>) -> Result<usize, ConfigError> {
    match (options.opt_usize("vocab_size"), tokens) {
        (Some(given), Some(tokens)) if given < tokens => {
            let reason = format!("{given} is less than the tokenizer's {tokens} tokens");
            Err(options.invalid("vocab_size", reason + "; leave it out or raise it"))
        }
        (given, tokens) => Ok(given.or(tokens).unwrap_or(super::VOCAB_SIZE)),
    }
}

impl Gpt2Config {
    /// What cannot be: the key, and why.
    fn fault(&self) -> Option<(&'static str, String)> {
        let Self { n_head, n_embd, .. } = *self;
        let sizes = [
            ("n_layer", self.n_layer),
            ("n_head", n_head),
            ("n_embd", n_embd),
            ("n_positions", self.n_positions),
            ("n_inner", self.inner()),
            ("vocab_size", self.vocab_size),
        ];
        let dropouts = [
            ("resid_pdrop", self.resid_pdrop),
            ("embd_pdrop", self.embd_pdrop),
            ("attn_pdrop", self.attn_pdrop),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Some((key, "0; it must be at least 1".to_owned()));
        }
        if let Some((key, p)) = dropouts.iter().find(|(_, p)| !(0.0..1.0).contains(p)) {
            return Some((key, format!("{p} is not in [0, 1)")));
        }
        if n_embd % n_head != 0 {
            let reason = format!("{n_embd} does not split evenly into n_head = {n_head} heads");
            return Some(("n_embd", reason + "; make it a multiple"));
        }
        if Activation::by_name(&self.activation_function).is_none() {
            let known = Activation::NAMES.join(", ");
            let reason = format!("`{}` is unknown (known: {known})", self.activation_function);
            return Some(("activation_function", reason));
        }
        let parameters = self.parameters();
        (parameters > MOST_PARAMETERS).then(|| {
            let reason = format!("these sizes make {parameters} parameters, at most");
            ("n_embd", format!("{reason} {MOST_PARAMETERS} are supported; make them smaller"))
        })
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
        let dtype = match self.dtype {
            DType::F64 => "float64",
            DType::BF16 => "bfloat16",
            _ => "float32",
        };
        let json = json!({
            "activation_function": self.activation_function,
            "architectures": ["GPT2LMHeadModel"],
            "attn_pdrop": self.attn_pdrop,
            "bos_token_id": null,
            "dtype": dtype,
            "embd_pdrop": self.embd_pdrop,
            "eos_token_id": null,
            "initializer_range": self.initializer_range,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "model_type": self.model_type(),
            "n_embd": self.n_embd,
            "n_head": self.n_head,
            "n_inner": self.n_inner,
            "n_layer": self.n_layer,
            "n_positions": self.n_positions,
            "resid_pdrop": self.resid_pdrop,
            "scale_attn_weights": self.scale_attn_weights,
            "tie_word_embeddings": self.tie_word_embeddings,
            "torch_dtype": dtype,
            "vocab_size": self.vocab_size,
        });
        json.as_object().cloned().unwrap_or_default()
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
        self.dtype
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn max_positions(&self) -> usize {
        self.n_positions
    }
}
