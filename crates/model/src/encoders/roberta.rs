//! RoBERTa.

use rappel_config::{Entry, InvalidOption};
use rappel_nn::Activation;

use crate::encoder::{
    BertLike, Dense, EncoderArchitecture, EncoderShape, HeadShape, NAMES, Names, Reads,
    bert_config, entry,
};

pub(super) const ENTRY: Entry<EncoderArchitecture> = entry::<RobertaConfig>(
    "BERT whose positions begin behind that of padding",
    "Liu et al., https://arxiv.org/abs/1907.11692; transformers RobertaModel",
    &[],
);

bert_config! {
    /// RoBERTa's options, under the names of Hugging Face's `RobertaConfig`; by default RoBERTa base as released.
    RobertaConfig is "roberta", "Roberta" {
        vocab_size: 50_265, max_position_embeddings: 514, type_vocab_size: 1, layer_norm_eps: 1e-5,
    }
    /// row of the table of positions before that of the first token: the token of padding
    #[option(default = 1, range = 0..)]
    pub pad_token_id: usize,
}

impl RobertaConfig {
    fn encoder(options: &BertLike<'_>, own: &Self) -> Result<EncoderShape, InvalidOption> {
        shape(options, own.pad_token_id)
    }
}

const OWN_NAMES: Names = Names { prefix: "roberta", heads: &["lm_head", "classifier"], ..NAMES };

/// The model with this token of padding.
pub(super) fn shape(options: &BertLike<'_>, padding: usize) -> Result<EncoderShape, InvalidOption> {
    let classifier = |reads| HeadShape::classifier(reads, options.classifier_dropout);
    let dense = |name, activation| Some(Dense { name, bias: true, activation });
    let masked = HeadShape {
        dense: dense("lm_head.dense", Activation::Gelu),
        norm: Some("lm_head.layer_norm"),
        out: "lm_head.decoder",
        bias: Some("lm_head.bias"),
        ..HeadShape::classifier(Reads::Each, 0.0)
    };
    let sequences = HeadShape {
        dropouts: [options.classifier_dropout; 2],
        dense: dense("classifier.dense", Activation::Tanh),
        out: "classifier.out_proj",
        bias: Some("classifier.out_proj.bias"),
        ..classifier(Reads::First)
    };
    options.shape(
        padding.saturating_add(1),
        &OWN_NAMES,
        [masked, sequences],
        classifier(Reads::Each),
    )
}
