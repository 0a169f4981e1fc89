//! DistilBERT: half of BERT's layers, without segments.

use rappel_config::{Entry, InvalidOption, Options};
use rappel_nn::Activation;

use crate::ActivationName;
use crate::architectures::{Common, LARGEST};
use crate::encoder::{
    Dense, Dropouts, EncoderArchitecture, EncoderOptions, EncoderShape, HeadShape, LayerShape,
    Names, Norms, Positions, Projections, Reads, entry, tied,
};

pub(super) const ENTRY: Entry<EncoderArchitecture> = entry::<DistilBertConfig>(
    "BERT without segments",
    "Sanh et al., https://arxiv.org/abs/1910.01108; transformers DistilBertModel",
    // Of its head for questions, and of old files.
    &["qa_dropout", "tie_weights_"],
);

/// DistilBERT's options, under the names of Hugging Face's `DistilBertConfig`; by default DistilBERT base as released.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = EncoderOptions::check)]
pub struct DistilBertConfig {
    /// number of tokens; by default those of the tokenizer
    #[option(unset = 30_522, range = 1..=LARGEST)]
    pub vocab_size: usize,
    /// longest text, in tokens
    #[option(default = 512, range = 1..=LARGEST, aka("n_positions", "n_ctx", "context_length"))]
    pub max_position_embeddings: usize,
    /// number of layers
    #[option(default = 6, range = 1..=1_000, aka("num_hidden_layers", "num_layers", "layers"))]
    pub n_layers: usize,
    /// heads of attention; must divide dim
    #[option(default = 12, range = 1..=LARGEST, aka("num_attention_heads", "num_heads", "heads"))]
    pub n_heads: usize,
    /// width of the states between layers
    #[option(default = 768, range = 1..=LARGEST, aka("hidden_size", "d_model", "width"))]
    pub dim: usize,
    /// width inside a layer's MLP
    #[option(default = 3072, range = 1..=LARGEST, aka("intermediate_size", "d_ff"))]
    pub hidden_dim: usize,
    /// dropout of the embeddings and of what the MLP adds
    #[option(default = 0.1, range = 0.0..1.0, aka("hidden_dropout_prob", "resid_pdrop"))]
    pub dropout: f64,
    /// dropout of attention
    #[option(default = 0.1, range = 0.0..1.0, aka("attention_probs_dropout_prob", "attn_pdrop"))]
    pub attention_dropout: f64,
    /// dropout before the head of a classifier of texts
    #[option(default = 0.2, range = 0.0..1.0, aka("classifier_dropout"))]
    pub seq_classif_dropout: f64,
    /// function inside a layer's MLP
    #[option(default = ActivationName::Gelu, aka("hidden_act"))]
    pub activation: ActivationName,
    /// standard deviation of the initial weights
    #[option(default = 0.02, range = 0.0.., aka("init_std"))]
    pub initializer_range: f64,
    /// use the token embedding as the output matrix too
    #[option(default = true, aka("tied_embeddings", "weight_tying"))]
    pub tie_word_embeddings: bool,
    /// what every architecture takes
    #[option(flatten)]
    pub common: Common,
}

const NAMES: Names = Names {
    prefix: "distilbert",
    layers: "transformer.layer",
    projections: Projections::Apart(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    attention_out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    mlp: ["ffn.lin1", "ffn.lin2"],
    mlp_norm: "output_layer_norm",
    pooler: None,
    heads: &[
        "vocab_transform",
        "vocab_layer_norm",
        "vocab_projector",
        "pre_classifier",
        "classifier",
        "qa_outputs",
    ],
    ..crate::encoder::NAMES
};

impl EncoderOptions for DistilBertConfig {
    const MODEL_TYPE: &'static str = "distilbert";
    const CLASS: &'static str = "DistilBert";

    fn shape(&self) -> Result<EncoderShape, InvalidOption> {
        tied(self.tie_word_embeddings)?;
        let activation = self.activation.function();
        let dense = |name, activation| Some(Dense { name, bias: true, activation });
        let shape = EncoderShape {
            vocab_size: self.vocab_size,
            width: self.dim,
            positions: Positions::Learned { rows: self.max_position_embeddings, first: 0 },
            types: 0,
            heads: self.n_heads,
            inner: self.hidden_dim,
            activation,
            gated: false,
            layers: vec![LayerShape { rope: None, window: None }; self.n_layers],
            norms: Norms { eps: 1e-12, bias: true, before: false },
            biases: [true; 2],
            dropouts: Dropouts {
                embeddings: self.dropout,
                attention: [self.attention_dropout, 0.0],
                mlp: [0.0, self.dropout],
            },
            stds: [self.initializer_range; 2],
            names: &NAMES,
            for_masked: HeadShape {
                dense: dense("vocab_transform", activation),
                norm: Some("vocab_layer_norm"),
                out: "vocab_projector",
                bias: Some("vocab_projector.bias"),
                ..HeadShape::classifier(Reads::Each, 0.0)
            },
            for_sequences: HeadShape {
                dense: dense("pre_classifier", Activation::Relu),
                ..HeadShape::classifier(Reads::First, self.seq_classif_dropout)
            },
            for_tokens: HeadShape::classifier(Reads::Each, self.dropout),
            gradient_checkpointing: self.common.gradient_checkpointing,
            dtype: self.common.dtype,
        };
        shape.checked(["dim", "n_heads", "max_position_embeddings"])
    }
}
