//! What the configs of encoders share.

use std::fmt::Debug;

use rappel_config::{ConfigError, Entry, InvalidOption, OptionSet, Options};
use rappel_nn::Values;
use rappel_tensor::{DType, Params};
use serde_json::{Map, Value};

use super::shape::EncoderShape;
use super::{Encoder, EncoderTask};

/// The options of an encoder's architecture: how they become a model, and what Hugging Face calls that.
pub(crate) trait EncoderOptions: OptionSet + Clone + Debug + Send + Sync + 'static {
    /// Hugging Face's `model_type`.
    const MODEL_TYPE: &'static str;
    /// What the classes of transformers that read its files begin with.
    const CLASS: &'static str;

    /// What they come to.
    ///
    /// # Errors
    /// Options that cannot be beside each other.
    fn shape(&self) -> Result<EncoderShape, InvalidOption>;

    /// What config.json says beside the options.
    fn write(&self, json: &mut Map<String, Value>) {
        let _ = json;
    }

    /// The check of options together.
    ///
    /// # Errors
    /// As [`shape`](Self::shape).
    fn check(&self) -> Result<(), InvalidOption> {
        self.shape().map(|_| ())
    }
}

/// How an entry of [`ENCODERS`](crate::ENCODERS) becomes a model.
#[derive(Debug, Clone, Copy)]
pub struct EncoderArchitecture {
    /// Checks the options of a section.
    pub configure: fn(&Options) -> Result<EncoderConfig, ConfigError>,
    /// Keys of config.json that say nothing of what it computes, beside those that do so in all architectures.
    pub ignored: &'static [&'static str],
}

/// The entry of an encoder's architecture.
pub(crate) const fn entry<C: EncoderOptions>(
    summary: &'static str,
    reference: &'static str,
    ignored: &'static [&'static str],
) -> Entry<EncoderArchitecture> {
    let build = EncoderArchitecture { configure: configure::<C>, ignored };
    Entry { name: C::MODEL_TYPE, summary, reference, fields: C::FIELDS, build }
}

fn configure<C: EncoderOptions>(options: &Options) -> Result<EncoderConfig, ConfigError> {
    Ok(EncoderConfig::new(&C::from_options(options)?))
}

/// An encoder's sizes and options, checked: what a config section or a config.json comes to.
#[derive(Debug, Clone)]
pub struct EncoderConfig {
    pub(crate) shape: EncoderShape,
    model_type: &'static str,
    class: &'static str,
    json: Map<String, Value>,
}

impl EncoderConfig {
    /// The config of options that have been checked.
    pub(crate) fn new<C: EncoderOptions>(options: &C) -> Self {
        let shape = options.shape().unwrap_or_else(|error| panic!("{}: {error}", C::MODEL_TYPE));
        let mut json = options.to_json();
        options.write(&mut json);
        json.remove("gradient_checkpointing");
        let dtype = json.get("dtype").cloned().unwrap_or_default();
        json.insert("torch_dtype".to_owned(), dtype);
        json.insert("model_type".to_owned(), C::MODEL_TYPE.into());
        Self { shape, model_type: C::MODEL_TYPE, class: C::CLASS, json }
    }

    /// The architecture's name, Hugging Face's `model_type`.
    pub fn model_type(&self) -> &'static str {
        self.model_type
    }

    /// What the classes of transformers that read its files begin with.
    pub(crate) fn class(&self) -> &'static str {
        self.class
    }

    /// The model with this head, whose parameters it registers in `params` by their names in checkpoints.
    ///
    /// # Panics
    /// Where `params` has such names already.
    pub fn build(&self, params: &mut Params, task: EncoderTask) -> Encoder {
        Encoder::new(params, self.clone(), task, false, [Values::Drawn; 2])
    }

    /// The config.json that transformers reads.
    pub fn to_json(&self, task: &EncoderTask) -> Map<String, Value> {
        let mut json = self.json.clone();
        json.extend(task.to_json(self.class));
        json
    }

    /// The layers that a head for labels of texts consists of, by their names.
    pub fn classifier_layers(&self) -> Vec<String> {
        let head = &self.shape.for_sequences;
        let dense = head.dense.map(|dense| dense.name);
        let mut layers: Vec<String> = Vec::new();
        for part in [dense, head.norm, Some(head.out)].into_iter().flatten() {
            // RoBERTa's are one module of two.
            let part = if part.starts_with("classifier.") { "classifier" } else { part };
            if layers.iter().all(|layer| layer != part) {
                layers.push(part.to_owned());
            }
        }
        layers
    }

    /// How many numbers a model with this head trains.
    pub fn parameter_count(&self, task: EncoderTask) -> u64 {
        // Nothing is allocated before a value is read.
        let mut params = Params::new(0);
        Encoder::new(&mut params, self.clone(), task, false, [Values::Placeholders; 2]);
        params.count() as u64
    }

    /// Floating-point operations of one token's forward and backward pass in texts of `time` tokens, without a head.
    pub fn flops_per_token(&self, time: usize) -> u64 {
        self.shape.flops_per_token(time)
    }

    /// The type of parameters and activations.
    pub fn dtype(&self) -> DType {
        self.shape.dtype
    }

    /// Whether layers are computed again in the backward pass, so that only their inputs are kept.
    pub fn gradient_checkpointing(&self) -> bool {
        self.shape.gradient_checkpointing
    }

    /// How many different tokens there are.
    pub fn vocab_size(&self) -> usize {
        self.shape.vocab_size
    }

    /// The longest text, in tokens.
    pub fn max_positions(&self) -> usize {
        self.shape.max_positions()
    }

    /// Numbers in the state of a token.
    pub fn hidden_size(&self) -> usize {
        self.shape.width
    }
}

/// Refuses a head of its own matrix.
///
/// # Errors
/// Where it would have one.
pub(crate) fn tied(tie_word_embeddings: bool) -> Result<(), InvalidOption> {
    if tie_word_embeddings {
        return Ok(());
    }
    let reason = "encoders predict tokens by their embeddings; false is not supported";
    Err(InvalidOption::new("tie_word_embeddings", reason))
}

/// Declares the config of an encoder with BERT's options, with this architecture's defaults, and its own. What they come
/// to is its method `encoder`.
macro_rules! bert_config {
    (
        $(#[$doc:meta])* $name:ident is $model_type:literal, $class:literal {
            vocab_size: $vocab:literal, max_position_embeddings: $positions:literal,
            type_vocab_size: $types:literal, layer_norm_eps: $eps:literal $(,)?
        }
        $($own:tt)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, rappel_config::Options)]
        #[options(check = crate::encoder::EncoderOptions::check)]
        pub struct $name {
            /// number of tokens; by default those of the tokenizer
            #[option(unset = $vocab, range = 1..=crate::architectures::LARGEST)]
            pub vocab_size: usize,
            /// width of the states between layers
            #[option(default = 768, range = 1..=crate::architectures::LARGEST)]
            #[option(aka("n_embd", "d_model", "width"))]
            pub hidden_size: usize,
            /// number of layers
            #[option(default = 12, range = 1..=1_000)]
            #[option(aka("n_layer", "num_layers", "layers", "depth"))]
            pub num_hidden_layers: usize,
            /// heads of attention; must divide hidden_size
            #[option(default = 12, range = 1..=crate::architectures::LARGEST)]
            #[option(aka("n_head", "num_heads", "heads"))]
            pub num_attention_heads: usize,
            /// width inside a layer's MLP
            #[option(default = 3072, range = 1..=crate::architectures::LARGEST)]
            #[option(aka("n_inner", "d_ff"))]
            pub intermediate_size: usize,
            /// function inside a layer's MLP
            #[option(default = crate::ActivationName::Gelu)]
            #[option(aka("activation", "activation_function"))]
            pub hidden_act: crate::ActivationName,
            /// dropout of the embeddings and of what attention and the MLP add
            #[option(default = 0.1, range = 0.0..1.0, aka("dropout", "resid_pdrop"))]
            pub hidden_dropout_prob: f64,
            /// dropout of attention
            #[option(default = 0.1, range = 0.0..1.0, aka("attention_dropout", "attn_pdrop"))]
            pub attention_probs_dropout_prob: f64,
            /// dropout before the head of a classifier; by default hidden_dropout_prob
            #[option(range = 0.0..1.0)]
            pub classifier_dropout: Option<f64>,
            /// rows of the table of positions
            #[option(default = $positions, range = 1..=crate::architectures::LARGEST)]
            #[option(aka("n_positions", "n_ctx", "context_length"))]
            pub max_position_embeddings: usize,
            /// number of kinds of segments
            #[option(default = $types, range = 1..=crate::architectures::LARGEST)]
            pub type_vocab_size: usize,
            /// how positions are encoded
            #[option(default = "absolute", kind = rappel_config::Kind::OneOf(&["absolute"]))]
            pub position_embedding_type: String,
            /// standard deviation of the initial weights
            #[option(default = 0.02, range = 0.0.., aka("init_std"))]
            pub initializer_range: f64,
            /// added to the variance in layer norms
            #[option(default = $eps, range = rappel_config::Range::above(0.0), aka("eps"))]
            pub layer_norm_eps: f64,
            /// use the token embedding as the output matrix too
            #[option(default = true, aka("tied_embeddings", "weight_tying"))]
            pub tie_word_embeddings: bool,
            $($own)*
            /// what every architecture takes
            #[option(flatten)]
            pub common: crate::architectures::Common,
        }

        impl crate::encoder::EncoderOptions for $name {
            const MODEL_TYPE: &'static str = $model_type;
            const CLASS: &'static str = $class;

            fn shape(
                &self,
            ) -> Result<crate::encoder::EncoderShape, rappel_config::InvalidOption> {
                let options = crate::encoder::BertLike {
                    vocab_size: self.vocab_size,
                    hidden_size: self.hidden_size,
                    num_hidden_layers: self.num_hidden_layers,
                    num_attention_heads: self.num_attention_heads,
                    intermediate_size: self.intermediate_size,
                    activation: self.hidden_act.function(),
                    hidden_dropout_prob: self.hidden_dropout_prob,
                    attention_probs_dropout_prob: self.attention_probs_dropout_prob,
                    classifier_dropout: self.classifier_dropout.unwrap_or(self.hidden_dropout_prob),
                    max_position_embeddings: self.max_position_embeddings,
                    type_vocab_size: self.type_vocab_size,
                    initializer_range: self.initializer_range,
                    layer_norm_eps: self.layer_norm_eps,
                    tie_word_embeddings: self.tie_word_embeddings,
                    common: &self.common,
                };
                Self::encoder(&options, self)
            }
        }
    };
}
pub(crate) use bert_config;
