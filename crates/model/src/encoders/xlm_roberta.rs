//! XLM-RoBERTa: RoBERTa for a hundred languages, under names of its own; BGE-M3, multilingual E5.

use rappel_config::{Entry, InvalidOption};

use super::roberta::shape;
use crate::encoder::{BertLike, EncoderArchitecture, EncoderShape, bert_config, entry};

pub(super) const ENTRY: Entry<EncoderArchitecture> = entry::<XlmRobertaConfig>(
    "RoBERTa for a hundred languages",
    "Conneau et al., https://arxiv.org/abs/1911.02116; transformers XLMRobertaModel",
    &[],
);

bert_config! {
    /// XLM-RoBERTa's options, under the names of Hugging Face's `XLMRobertaConfig`; by default XLM-RoBERTa base as
    /// released.
    XlmRobertaConfig is "xlm-roberta", "XLMRoberta" {
        vocab_size: 250_002, max_position_embeddings: 514, type_vocab_size: 1, layer_norm_eps: 1e-5,
    }
    /// row of the table of positions before that of the first token: the token of padding
    #[option(default = 1, range = 0..)]
    pub pad_token_id: usize,
}

impl XlmRobertaConfig {
    fn encoder(options: &BertLike<'_>, own: &Self) -> Result<EncoderShape, InvalidOption> {
        shape(options, own.pad_token_id)
    }
}
