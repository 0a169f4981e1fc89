//! What the configs of decoders share.

use std::fmt::Debug;

use rappel_config::{Entry, InvalidOption, OptionSet};
use rappel_nn::{Activation, Rope, Values};
use rappel_tensor::{DType, Params};
use serde_json::{Map, Value};

use super::shape::{AttentionShape, DecoderShape, LayerShape, MlpShape, Norms, QkNorm};
use super::{Decoder, EMBEDDING, HEAD};
use crate::architectures::{Architecture, Common, MOST_PARAMETERS, configure, hugging_face};
use crate::rope::{RopeDefaults, RopeOptions, RopeType};
use crate::{GgufDialect, LanguageModel, ModelConfig};

/// The options of a decoder's architecture: how they become a model, and what Hugging Face calls that.
pub(crate) trait DecoderOptions: OptionSet + Clone + Debug + Send + Sync + 'static {
    /// Hugging Face's `model_type`.
    const MODEL_TYPE: &'static str;
    /// The class of transformers that reads its files.
    const CLASS: &'static str;
    /// The base of the frequencies of positions where a config gives none.
    const THETA: f64;
    /// That of layers with a window, where they have their own kind of positions; else nothing.
    const LOCAL_THETA: &'static [f64];

    /// Options whose 0 Hugging Face's config writes as null.
    const OFF: &'static [&'static str];

    /// The options that all decoders have.
    fn shared(&self) -> Shared<'_>;

    /// What they come to.
    ///
    /// # Errors
    /// Options that cannot be beside each other.
    fn shape(&self) -> Result<DecoderShape, InvalidOption>;

    /// The check of options together.
    ///
    /// # Errors
    /// As [`shape`](Self::shape).
    fn check(&self) -> Result<(), InvalidOption> {
        self.shape().map(|_| ())
    }
}

/// The entry of a decoder's architecture.
pub(crate) const fn entry<C: DecoderOptions>(
    summary: &'static str,
    reference: &'static str,
    gguf: GgufDialect,
) -> Entry<Architecture> {
    let build = Architecture {
        configure: configure::<C>,
        off: C::OFF,
        canonical,
        tied: &[(HEAD, EMBEDDING)],
        gguf,
    };
    Entry { name: C::MODEL_TYPE, summary, reference, fields: C::FIELDS, build }
}

/// Old files hold the frequencies of positions, which follow from the config.
fn canonical(name: &str) -> Option<String> {
    (!name.ends_with(".rotary_emb.inv_freq")).then(|| name.to_owned())
}

/// `x`, where it is not the 0 that stands for nothing of the kind.
pub(crate) fn unless_zero<T: PartialEq + Default>(x: T) -> Option<T> {
    (x != T::default()).then_some(x)
}

/// The options that all decoders have.
pub(crate) struct Shared<'a> {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: Option<usize>,
    pub activation: Activation,
    pub max_position_embeddings: usize,
    pub initializer_range: f64,
    pub rms_norm_eps: f64,
    pub tie_word_embeddings: bool,
    pub attention_dropout: f64,
    pub rope: &'a RopeOptions,
    pub common: &'a Common,
}

impl Shared<'_> {
    /// Channels of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    /// What positions come from where a config leaves them out.
    pub fn rope_defaults(&self, theta: f64) -> RopeDefaults {
        RopeDefaults {
            theta,
            dim: self.head_dim(),
            max_positions: self.max_position_embeddings,
            original: None,
            partial: 1.0,
        }
    }

    /// Llama's model of these sizes, all of whose layers are alike: what other architectures change. `theta` is the base
    /// of the frequencies of positions where the config gives none.
    ///
    /// # Errors
    /// Options that do not go together.
    pub fn llama(&self, theta: f64) -> Result<DecoderShape, InvalidOption> {
        self.with_rope(&self.rope.rope(&self.rope_defaults(theta))?)
    }

    /// The same with these positions.
    ///
    /// # Errors
    /// Sizes that do not go together.
    pub fn with_rope(&self, rope: &Rope) -> Result<DecoderShape, InvalidOption> {
        let Self { hidden_size, num_attention_heads: heads, num_key_value_heads: kv_heads, .. } =
            *self;
        if self.head_dim.is_none() && !hidden_size.is_multiple_of(heads) {
            let reason = format!("{hidden_size} does not split evenly into {heads} heads");
            let reason = reason + "; make it a multiple of num_attention_heads, or give head_dim";
            return Err(InvalidOption::new("hidden_size", reason));
        }
        if !heads.is_multiple_of(kv_heads) {
            let reason = format!("{heads} heads of queries cannot share {kv_heads} of keys evenly");
            let reason = reason + "; make num_attention_heads a multiple of it";
            return Err(InvalidOption::new("num_key_value_heads", reason));
        }
        let dim = self.head_dim();
        let inner = self.intermediate_size.max(self.vocab_size).max(heads.saturating_mul(dim));
        let largest = (inner as u128).saturating_mul(hidden_size as u128);
        if largest > MOST_PARAMETERS {
            let reason = format!(
                "these sizes make a matrix of {largest} parameters, at most {MOST_PARAMETERS} are \
                 supported; make them smaller"
            );
            return Err(InvalidOption::new("hidden_size", reason));
        }
        let layer = LayerShape { rope: Some(rope.clone()), window: None, sparse: false };
        Ok(DecoderShape {
            vocab_size: self.vocab_size,
            width: hidden_size,
            positions: self.positions(),
            layers: vec![layer; self.num_hidden_layers],
            attention: AttentionShape {
                heads,
                kv_heads,
                dim,
                scale: (dim as f64).sqrt().recip(),
                biases: [false; 2],
                qk_norm: QkNorm::None,
                clip: None,
                softcap: None,
                dropout: self.attention_dropout,
                fused: false,
            },
            mlp: MlpShape {
                inner: self.intermediate_size,
                activation: self.activation,
                bias: false,
                fused: false,
            },
            experts: None,
            norms: Norms::Before,
            rms_eps: self.rms_norm_eps,
            embedding_scale: None,
            softcap: None,
            tied: self.tie_word_embeddings,
            dropouts: [0.0; 2],
            std: self.initializer_range,
            gradient_checkpointing: self.common.gradient_checkpointing,
            dtype: self.common.dtype,
        })
    }

    /// The longest sequence: positions that are stretched as needed reach as far as their factor says.
    fn positions(&self) -> usize {
        let new = self.rope.rope_parameters.as_ref().map(|new| &new.all);
        let table = self.rope.rope_scaling.as_ref().or(new);
        let stretched = table.filter(|table| table.rope_type == RopeType::Dynamic);
        let factor = stretched.and_then(|table| table.factor).unwrap_or(1.0);
        (self.max_position_embeddings as f64 * factor) as usize
    }
}

/// The word for layers whose queries see everything before them, and for those with a window.
const LAYER_TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

/// Gives a window to the layers that `types` names `sliding_attention`, or without types to those that `slides` picks.
///
/// # Errors
/// Types that are not one for each layer, or unknown.
pub(crate) fn slide(
    layers: &mut [LayerShape],
    window: Option<usize>,
    types: Option<&Vec<String>>,
    slides: impl Fn(usize) -> bool,
) -> Result<(), InvalidOption> {
    let chosen = sliding(layers.len(), types, slides)?;
    if types.is_some() && window.is_none() && chosen.contains(&true) {
        let reason = "layer_types has layers with a window, whose size is missing";
        return Err(InvalidOption::new("sliding_window", reason));
    }
    for (layer, slides) in layers.iter_mut().zip(chosen) {
        layer.window = window.filter(|_| slides);
    }
    Ok(())
}

/// Which of `count` layers have a window: those that `types` names `sliding_attention`, or without types those that
/// `slides` picks.
///
/// # Errors
/// Types that are not one for each layer, or unknown.
pub(crate) fn sliding(
    count: usize,
    types: Option<&Vec<String>>,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, InvalidOption> {
    let Some(types) = types else { return Ok((0..count).map(slides).collect()) };
    let invalid = |reason| Err(InvalidOption::new("layer_types", reason));
    if types.len() != count {
        let found = types.len();
        return invalid(format!("{found} types for {count} layers; give one for each"));
    }
    if let Some(other) = types.iter().find(|name| !LAYER_TYPES.contains(&name.as_str())) {
        let known = LAYER_TYPES.join(", ");
        return invalid(format!("`{other}` is not supported (known: {known})"));
    }
    Ok(types.iter().map(|name| name == LAYER_TYPES[1]).collect())
}

impl<C: DecoderOptions> ModelConfig for C {
    fn model_type(&self) -> &'static str {
        C::MODEL_TYPE
    }

    fn build_with(&self, params: &mut Params, values: Values) -> Box<dyn LanguageModel> {
        let shape = self.shape().unwrap_or_else(|error| panic!("{}: {error}", C::MODEL_TYPE));
        Box::new(Decoder::new(params, Box::new(self.clone()), shape, values))
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut json = hugging_face(self, C::CLASS);
        let shared = self.shared();
        for key in C::OFF {
            if json.get(*key).and_then(Value::as_f64) == Some(0.0) {
                json.insert((*key).to_owned(), Value::Null);
            }
        }
        json.insert("head_dim".to_owned(), shared.head_dim().into());
        shared.rope.write(&mut json, C::THETA, C::LOCAL_THETA.first().copied());
        json
    }

    fn parameter_count(&self) -> u64 {
        // Nothing is allocated before a value is read.
        let mut params = Params::new(0);
        self.build_with(&mut params, Values::Placeholders);
        params.count() as u64
    }

    fn flops_per_token(&self, time: usize) -> u64 {
        self.shape().map_or(0, |shape| shape.flops_per_token(time))
    }

    fn dtype(&self) -> DType {
        self.shared().common.dtype
    }

    fn gradient_checkpointing(&self) -> bool {
        self.shared().common.gradient_checkpointing
    }

    fn share_of_tokens(&self, parameter: &str) -> f64 {
        let experts = self.shape().ok().and_then(|shape| shape.experts);
        let experts = experts.filter(|_| parameter.contains(".experts."));
        experts.map_or(1.0, |experts| experts.active as f64 / experts.count as f64)
    }

    fn vocab_size(&self) -> usize {
        self.shared().vocab_size
    }

    fn max_positions(&self) -> usize {
        self.shared().positions()
    }
}

/// Declares a decoder's config: the options that all of them have, with this architecture's defaults, and its own. What
/// they come to is its method `decoder`.
macro_rules! decoder_config {
    (
        $(#[$doc:meta])* $name:ident is $model_type:literal, $class:literal {
            vocab_size: $vocab:tt, hidden_size: $hidden:tt, intermediate_size: $inner:tt,
            num_hidden_layers: $layers:tt, num_attention_heads: $heads:tt,
            num_key_value_heads: ($($kv:tt)*), head_dim: ($($head_dim:tt)*),
            $activation:ident: $activation_default:ident, max_position_embeddings: $positions:tt,
            rms_norm_eps: $eps:tt, tie_word_embeddings: $tied:tt,
            rope_theta: $theta:literal $(, of_sliding_layers: $local:literal)?,
            off: $off:expr $(,)?
        }
        $($own:tt)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, rappel_config::Options)]
        #[options(check = crate::decoder::DecoderOptions::check)]
        pub struct $name {
            /// number of tokens; by default those of the tokenizer
            #[option(unset = $vocab, range = 1..=crate::architectures::LARGEST)]
            pub vocab_size: usize,
            /// width of the states between layers
            #[option(default = $hidden, range = 1..=crate::architectures::LARGEST)]
            #[option(aka("n_embd", "d_model", "width"))]
            pub hidden_size: usize,
            /// width inside a layer's MLP
            #[option(default = $inner, range = 1..=crate::architectures::LARGEST)]
            #[option(aka("n_inner", "d_ff"))]
            pub intermediate_size: usize,
            /// number of layers
            #[option(default = $layers, range = 1..=1_000)]
            #[option(aka("n_layer", "num_layers", "layers", "depth"))]
            pub num_hidden_layers: usize,
            /// heads of queries
            #[option(default = $heads, range = 1..=crate::architectures::LARGEST)]
            #[option(aka("n_head", "num_heads", "heads"))]
            pub num_attention_heads: usize,
            /// heads of keys and values, which heads of queries share; unset: as many as those
            #[option(range = 1..=crate::architectures::LARGEST, aka("n_kv_heads", "kv_heads"), $($kv)*)]
            pub num_key_value_heads: Option<usize>,
            /// channels of a head; unset: hidden_size / num_attention_heads
            #[option(range = 1..=crate::architectures::LARGEST, $($head_dim)*)]
            pub head_dim: Option<usize>,
            /// function of the gate inside a layer's MLP
            #[option(default = crate::ActivationName::$activation_default)]
            #[option(aka("activation", "activation_function"))]
            pub $activation: crate::ActivationName,
            /// longest sequence, in tokens
            #[option(default = $positions, range = 1..=crate::architectures::LARGEST)]
            #[option(aka("n_positions", "n_ctx", "block_size", "context_length"))]
            pub max_position_embeddings: usize,
            /// standard deviation of the initial weights
            #[option(default = 0.02, range = 0.0.., aka("init_std"))]
            pub initializer_range: f64,
            /// added to the mean square in norms
            #[option(default = $eps, range = rappel_config::Range::above(0.0))]
            #[option(aka("layer_norm_eps", "eps"))]
            pub rms_norm_eps: f64,
            /// use the token embedding as the output matrix too
            #[option(default = $tied, aka("tied_embeddings", "weight_tying"))]
            pub tie_word_embeddings: bool,
            /// dropout of attention
            #[option(default = 0.0, range = 0.0..1.0, aka("attn_pdrop", "attn_dropout"))]
            pub attention_dropout: f64,
            $($own)*
            /// rotary positions
            #[option(flatten)]
            pub rope: crate::RopeOptions,
            /// what every architecture takes
            #[option(flatten)]
            pub common: crate::architectures::Common,
        }

        impl crate::decoder::DecoderOptions for $name {
            const MODEL_TYPE: &'static str = $model_type;
            const CLASS: &'static str = $class;
            const THETA: f64 = $theta;
            const LOCAL_THETA: &'static [f64] = &[$($local)?];
            const OFF: &'static [&'static str] = &$off;

            fn shared(&self) -> crate::decoder::Shared<'_> {
                crate::decoder::Shared {
                    vocab_size: self.vocab_size,
                    hidden_size: self.hidden_size,
                    intermediate_size: self.intermediate_size,
                    num_hidden_layers: self.num_hidden_layers,
                    num_attention_heads: self.num_attention_heads,
                    num_key_value_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
                    head_dim: self.head_dim,
                    activation: self.$activation.function(),
                    max_position_embeddings: self.max_position_embeddings,
                    initializer_range: self.initializer_range,
                    rms_norm_eps: self.rms_norm_eps,
                    tie_word_embeddings: self.tie_word_embeddings,
                    attention_dropout: self.attention_dropout,
                    rope: &self.rope,
                    common: &self.common,
                }
            }

            fn shape(
                &self,
            ) -> Result<crate::decoder::DecoderShape, rappel_config::InvalidOption> {
                self.decoder(&crate::decoder::DecoderOptions::shared(self))
            }
        }
    };
}
pub(crate) use decoder_config;
