//! Encoders with BERT's layers: learned positions, norms after what is added, an MLP without a gate.

use rappel_config::InvalidOption;
use rappel_nn::Activation;

use super::options::tied;
use super::shape::{
    Dropouts, EncoderShape, HeadShape, LayerShape, Names, Norms, Positions, Projections,
};
use crate::architectures::Common;

/// The options that BERT and those like it have.
pub(crate) struct BertLike<'a> {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub activation: Activation,
    pub hidden_dropout_prob: f64,
    pub attention_probs_dropout_prob: f64,
    pub classifier_dropout: f64,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub initializer_range: f64,
    pub layer_norm_eps: f64,
    pub tie_word_embeddings: bool,
    pub common: &'a Common,
}

/// BERT's names.
pub(crate) const NAMES: Names = Names {
    prefix: "bert",
    tokens: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    types: "embeddings.token_type_embeddings",
    norm: "embeddings.LayerNorm",
    layers: "encoder.layer",
    projections: Projections::Apart([
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ]),
    attention_out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    mlp: ["intermediate.dense", "output.dense"],
    mlp_norm: "output.LayerNorm",
    last_norm: None,
    pooler: Some("pooler.dense"),
    heads: &["cls", "classifier"],
};

impl BertLike<'_> {
    /// The model, whose first token has row `first` of the table of positions; the heads are for hidden tokens and for
    /// sequences.
    ///
    /// # Errors
    /// Sizes that do not go together.
    pub fn shape(
        &self,
        first: usize,
        names: &'static Names,
        [for_masked, for_sequences]: [HeadShape; 2],
        for_tokens: HeadShape,
    ) -> Result<EncoderShape, InvalidOption> {
        tied(self.tie_word_embeddings)?;
        let hidden = self.hidden_dropout_prob;
        let shape = EncoderShape {
            vocab_size: self.vocab_size,
            width: self.hidden_size,
            positions: Positions::Learned { rows: self.max_position_embeddings, first },
            types: self.type_vocab_size,
            heads: self.num_attention_heads,
            inner: self.intermediate_size,
            activation: self.activation,
            gated: false,
            layers: vec![LayerShape { rope: None, window: None }; self.num_hidden_layers],
            norms: Norms { eps: self.layer_norm_eps, bias: true, before: false },
            biases: [true; 2],
            dropouts: Dropouts {
                embeddings: hidden,
                attention: [self.attention_probs_dropout_prob, hidden],
                mlp: [0.0, hidden],
            },
            stds: [self.initializer_range; 2],
            names,
            for_masked,
            for_sequences,
            for_tokens,
            gradient_checkpointing: self.common.gradient_checkpointing,
            dtype: self.common.dtype,
        };
        shape.checked(["hidden_size", "num_attention_heads", "max_position_embeddings"])
    }
}
