//! An encoder with its tokenizer that predicts hidden tokens.

use std::path::Path;

use rappel_data::Tokenizer;
use rappel_model::{EncoderConfig, EncoderTask, EncoderTexts, PretrainedEncoder};
use rappel_nn::Forward;
use rappel_tensor::{Params, Tensor};
use serde_json::Map;

use super::kept::KeptFile;
use super::sound;
use super::text_parts::TextParts;
use crate::{Model, TrainError};

/// An encoder of texts with a head for hidden tokens, and its tokenizer: what a run of the task `masked_language_model` leaves
/// in a folder, and transformers' models of that kind.
#[derive(Debug)]
pub struct MaskedLanguageModel {
    inner: PretrainedEncoder,
    parts: TextParts,
}

impl MaskedLanguageModel {
    /// A model that was never trained, whose parameters are registered in `params`.
    pub(crate) fn new(config: &EncoderConfig, mut params: Params, tokenizer: Tokenizer) -> Self {
        let model = config.build(&mut params, EncoderTask::MaskedLanguageModel);
        let padding = tokenizer.special_tokens().get("pad_token");
        let padding = padding.and_then(|token| tokenizer.token_id(token));
        let mut extra = Map::new();
        extra.insert("pad_token_id".to_owned(), padding.into());
        let inner = PretrainedEncoder { model, params, extra };
        Self { inner, parts: TextParts::new(tokenizer, Vec::new()) }
    }

    /// A model that was trained before, with its tokenizer and with the files that it comes with in `folder`.
    ///
    /// # Errors
    /// A parameter that is not finite.
    pub(super) fn trained_before(
        inner: PretrainedEncoder,
        tokenizer: Tokenizer,
        folder: &Path,
    ) -> Result<Self, TrainError> {
        sound::check_finite(folder, &inner.params)?;
        Ok(Self { inner, parts: TextParts::new(tokenizer, KeptFile::all(folder)?) })
    }

    /// The encoder with its head.
    pub(crate) fn inner(&self) -> &PretrainedEncoder {
        &self.inner
    }

    /// Logits `[places, tokens]` of some places, counted through the batch.
    pub(crate) fn logits(&self, texts: &EncoderTexts, places: &[i64], forward: &Forward) -> Tensor {
        self.inner.model.logits_at(texts, places, forward)
    }
}

impl Model for MaskedLanguageModel {
    fn params(&self) -> &Params {
        &self.inner.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.inner.params
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        self.parts.save(&self.inner.params, folder, || Ok(self.inner.save(folder)?))
    }

    fn fingerprint(&self) -> Option<String> {
        Some(self.parts.fingerprint())
    }
}
