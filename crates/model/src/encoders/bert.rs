//! BERT, and what shares its form: MiniLM, BGE, E5.

use rappel_config::{Entry, InvalidOption};
use rappel_nn::Activation;

use crate::encoder::{
    BertLike, Dense, EncoderArchitecture, EncoderShape, HeadShape, NAMES, Reads, bert_config, entry,
};

pub(super) const ENTRY: Entry<EncoderArchitecture> = entry::<BertConfig>(
    "encoder with learned positions, and layer norm after each part",
    "Devlin et al., https://arxiv.org/abs/1810.04805; transformers BertModel",
    &[],
);

bert_config! {
    /// BERT's options, under the names of Hugging Face's `BertConfig`; by default BERT base as released.
    BertConfig is "bert", "Bert" {
        vocab_size: 30_522, max_position_embeddings: 512, type_vocab_size: 2, layer_norm_eps: 1e-12,
    }
}

impl BertConfig {
    fn encoder(options: &BertLike<'_>, _: &Self) -> Result<EncoderShape, InvalidOption> {
        let classifier = |reads| HeadShape::classifier(reads, options.classifier_dropout);
        let dense = |name, activation| Some(Dense { name, bias: true, activation });
        let masked = HeadShape {
            dense: dense("cls.predictions.transform.dense", options.activation),
            norm: Some("cls.predictions.transform.LayerNorm"),
            out: "cls.predictions.decoder",
            bias: Some("cls.predictions.bias"),
            ..HeadShape::classifier(Reads::Each, 0.0)
        };
        let sequences = HeadShape {
            dense: dense("bert.pooler.dense", Activation::Tanh),
            ..classifier(Reads::First)
        };
        options.shape(0, &NAMES, [masked, sequences], classifier(Reads::Each))
    }
}
