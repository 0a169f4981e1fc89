//! Encoders of texts, as a kind of trained model.

use std::path::Path;

use rappel_model::EncoderFiles;

use super::{EvaluateOptions, ModelKind, Scores, TrainedModel};
use crate::TrainError;

/// Recognised by the architecture that its config.json names.
pub(super) const KIND: ModelKind = ModelKind {
    name: "encoder",
    is_in: |path| EncoderFiles::is_in(path),
    load: |folder| {
        EncoderFiles::open(folder)?;
        Ok(Box::new(Encoder))
    },
};

/// An encoder of texts.
struct Encoder;

impl TrainedModel for Encoder {
    fn kind(&self) -> &'static str {
        "an encoder of texts"
    }

    fn evaluate_on(&self, _: &Path, _: &EvaluateOptions) -> Result<Scores, TrainError> {
        Err(self.cannot("be evaluated on a file", "a language model or a model of tables"))
    }
}
