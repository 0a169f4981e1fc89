//! ModernBERT: rotary positions, norms before each part, a GeGLU MLP, windows in two of three layers.

use rappel_config::{Entry, InvalidOption, Options, Range, Words};
use serde_json::{Map, Value};

use crate::ActivationName;
use crate::architectures::{Common, LARGEST};
use crate::decoder::sliding;
use crate::encoder::{
    Dense, Dropouts, EncoderArchitecture, EncoderOptions, EncoderShape, HeadShape, LayerShape,
    Names, Norms, Positions, Projections, Reads, entry, tied,
};
use crate::rope::{RopeDefaults, RopeOptions, RopeParameters};

pub(super) const ENTRY: Entry<EncoderArchitecture> = entry::<ModernBertConfig>(
    "encoder with rotary positions, norms before each part, a GeGLU MLP, and windows in two of three layers",
    "Warner et al., https://arxiv.org/abs/2412.13663; transformers ModernBertModel",
    // How kernels and heads of other libraries compute the same; where initial weights are cut off.
    &[
        "cls_token_id",
        "deterministic_flash_attn",
        "initializer_cutoff_factor",
        "layer_norm_eps",
        "position_embedding_type",
        "reference_compile",
        "repad_logits_with_grad",
        "sparse_pred_ignore_index",
        "sparse_prediction",
    ],
);

/// Which states a classifier of texts reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum ClassifierPooling {
    /// The first token's.
    Cls,
    /// The mean of all.
    Mean,
}

/// ModernBERT's options, under the names of Hugging Face's `ModernBertConfig`; by default ModernBERT base as released.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = EncoderOptions::check)]
#[allow(clippy::struct_excessive_bools, reason = "the options of Hugging Face's config")]
pub struct ModernBertConfig {
    /// number of tokens; by default those of the tokenizer
    #[option(unset = 50_368, range = 1..=LARGEST)]
    pub vocab_size: usize,
    /// width of the states between layers
    #[option(default = 768, range = 1..=LARGEST, aka("n_embd", "d_model", "width"))]
    pub hidden_size: usize,
    /// width inside a layer's MLP
    #[option(default = 1152, range = 1..=LARGEST, aka("n_inner", "d_ff"))]
    pub intermediate_size: usize,
    /// number of layers
    #[option(default = 22, range = 1..=1_000, aka("n_layer", "num_layers", "layers", "depth"))]
    pub num_hidden_layers: usize,
    /// heads of attention; must divide hidden_size
    #[option(default = 12, range = 1..=LARGEST, aka("n_head", "num_heads", "heads"))]
    pub num_attention_heads: usize,
    /// function of the gate inside a layer's MLP
    #[option(default = ActivationName::Gelu, aka("hidden_act"))]
    pub hidden_activation: ActivationName,
    /// longest text, in tokens
    #[option(default = 8192, range = 1..=LARGEST, aka("n_positions", "n_ctx", "context_length"))]
    pub max_position_embeddings: usize,
    /// standard deviation of the initial weights
    #[option(default = 0.02, range = 0.0.., aka("init_std"))]
    pub initializer_range: f64,
    /// added to the variance in layer norms
    #[option(default = 1e-5, range = Range::above(0.0), aka("layer_norm_epsilon", "eps"))]
    pub norm_eps: f64,
    /// biases in layer norms
    #[option(default = false)]
    pub norm_bias: bool,
    /// biases in the linear layers of attention
    #[option(default = false)]
    pub attention_bias: bool,
    /// biases in those of the MLP
    #[option(default = false)]
    pub mlp_bias: bool,
    /// a bias for each token that is predicted
    #[option(default = true)]
    pub decoder_bias: bool,
    /// dropout of the embeddings
    #[option(default = 0.0, range = 0.0..1.0, aka("embd_pdrop"))]
    pub embedding_dropout: f64,
    /// dropout of attention, and of what it adds
    #[option(default = 0.0, range = 0.0..1.0, aka("attn_pdrop", "attention_probs_dropout_prob"))]
    pub attention_dropout: f64,
    /// dropout inside the MLP
    #[option(default = 0.0, range = 0.0..1.0)]
    pub mlp_dropout: f64,
    /// a layer without a window, then so many minus one with one, and so on
    #[option(default = 3, range = 1..)]
    pub global_attn_every_n_layers: usize,
    /// full_attention or sliding_attention for each layer; unset: by global_attn_every_n_layers
    pub layer_types: Option<Vec<String>>,
    /// tokens that a query of a layer with a window sees, half of them to each side, beside its own
    #[option(default = 128, range = 2.., aka("sliding_window", "window"))]
    pub local_attention: usize,
    /// base of the frequencies of rotary positions in layers without a window
    #[option(default = 160_000.0, range = Range::above(0.0), aka("rope_theta"))]
    pub global_rope_theta: f64,
    /// the same of layers with a window
    #[option(default = 10_000.0, range = Range::above(0.0), aka("rope_local_base_freq"))]
    pub local_rope_theta: f64,
    /// rotary positions by type of layer: full_attention and sliding_attention
    pub rope_parameters: Option<RopeParameters>,
    /// which states a classifier of texts reads
    #[option(default = ClassifierPooling::Cls)]
    pub classifier_pooling: ClassifierPooling,
    /// dropout before the head of a classifier
    #[option(default = 0.0, range = 0.0..1.0)]
    pub classifier_dropout: f64,
    /// a bias in the dense layer of a head
    #[option(default = false)]
    pub classifier_bias: bool,
    /// function of that layer
    #[option(default = ActivationName::Gelu)]
    pub classifier_activation: ActivationName,
    /// use the token embedding as the output matrix too
    #[option(default = true, aka("tied_embeddings", "weight_tying"))]
    pub tie_word_embeddings: bool,
    /// what every architecture takes
    #[option(flatten)]
    pub common: Common,
}

const NAMES: Names = Names {
    prefix: "model",
    tokens: "embeddings.tok_embeddings",
    positions: "",
    types: "",
    norm: "embeddings.norm",
    layers: "layers",
    projections: Projections::Fused("attn.Wqkv"),
    attention_out: "attn.Wo",
    attention_norm: "attn_norm",
    mlp: ["mlp.Wi", "mlp.Wo"],
    mlp_norm: "mlp_norm",
    last_norm: Some("final_norm"),
    pooler: None,
    heads: &["head", "decoder", "classifier"],
};

impl ModernBertConfig {
    fn rope(&self) -> RopeOptions {
        let rope_parameters = self.rope_parameters.clone();
        RopeOptions { rope_theta: None, rope_scaling: None, rope_parameters }
    }

    /// Layers without and with a window.
    fn layers(&self) -> Result<Vec<LayerShape>, InvalidOption> {
        let defaults = RopeDefaults {
            theta: self.global_rope_theta,
            dim: self.hidden_size / self.num_attention_heads,
            max_positions: self.max_position_embeddings,
            original: None,
            partial: 1.0,
        };
        let ropes = self.rope().by_type(&defaults, self.local_rope_theta)?;
        let every = self.global_attn_every_n_layers;
        let types = self.layer_types.as_ref();
        let slides = sliding(self.num_hidden_layers, types, |i| i % every != 0)?;
        let layer = |slides: bool| LayerShape {
            rope: Some(ropes[usize::from(slides)].clone()),
            window: slides.then_some(self.local_attention / 2 + 1),
        };
        Ok(slides.into_iter().map(layer).collect())
    }
}

impl EncoderOptions for ModernBertConfig {
    const MODEL_TYPE: &'static str = "modernbert";
    const CLASS: &'static str = "ModernBert";

    fn shape(&self) -> Result<EncoderShape, InvalidOption> {
        tied(self.tie_word_embeddings)?;
        let (std, layers) = (self.initializer_range, self.num_hidden_layers as f64);
        let dense = Dense {
            name: "head.dense",
            bias: self.classifier_bias,
            activation: self.classifier_activation.function(),
        };
        let head = |reads, dropout| HeadShape {
            dense: Some(dense),
            norm: Some("head.norm"),
            ..HeadShape::classifier(reads, dropout)
        };
        let reads = match self.classifier_pooling {
            ClassifierPooling::Cls => Reads::First,
            ClassifierPooling::Mean => Reads::Mean,
        };
        // The sizes first: positions are made of them.
        let mut shape = EncoderShape {
            vocab_size: self.vocab_size,
            width: self.hidden_size,
            positions: Positions::Rotary { most: self.max_position_embeddings },
            types: 0,
            heads: self.num_attention_heads,
            inner: self.intermediate_size,
            activation: self.hidden_activation.function(),
            gated: true,
            layers: Vec::new(),
            norms: Norms { eps: self.norm_eps, bias: self.norm_bias, before: true },
            biases: [self.attention_bias, self.mlp_bias],
            dropouts: Dropouts {
                embeddings: self.embedding_dropout,
                attention: [self.attention_dropout; 2],
                mlp: [self.mlp_dropout, 0.0],
            },
            stds: [std, std / (2.0 * layers).sqrt()],
            names: &NAMES,
            for_masked: HeadShape {
                out: "decoder",
                bias: self.decoder_bias.then_some("decoder.bias"),
                ..head(Reads::Each, 0.0)
            },
            for_sequences: head(reads, self.classifier_dropout),
            for_tokens: head(Reads::Each, self.classifier_dropout),
            gradient_checkpointing: self.common.gradient_checkpointing,
            dtype: self.common.dtype,
        }
        .checked(["hidden_size", "num_attention_heads", "max_position_embeddings"])?;
        shape.layers = self.layers()?;
        Ok(shape)
    }

    /// Both dialects of positions.
    fn write(&self, json: &mut Map<String, Value>) {
        let mut of_rope = Map::new();
        of_rope.insert("rope_local_base_freq".to_owned(), self.local_rope_theta.into());
        self.rope().write(&mut of_rope, self.global_rope_theta, Some(self.local_rope_theta));
        json.insert("rope_parameters".to_owned(), of_rope["rope_parameters"].clone());
    }
}
