//! What a model of text has beside its network.

use std::path::Path;
use std::sync::Arc;

use rappel_data::Tokenizer;
use rappel_tensor::Params;

use super::adapter::{self, Adapter};
use super::kept::KeptFile;
use crate::checkpoint::sha256;
use crate::{Frozen, TrainError};

/// Its tokenizer and further files, and what of it is trained.
#[derive(Debug)]
pub(super) struct TextParts {
    pub tokenizer: Tokenizer,
    /// Further files of the model that it began as.
    pub kept: Vec<KeptFile>,
    /// What of it is trained and saved, where that is not all.
    pub adapter: Option<Adapter>,
    /// What of it stays as the files have it that training began at.
    pub frozen: Option<Arc<Frozen>>,
}

impl TextParts {
    /// Those of a model that is trained whole.
    pub fn new(tokenizer: Tokenizer, kept: Vec<KeptFile>) -> Self {
        Self { tokenizer, kept, adapter: None, frozen: None }
    }

    /// Writes the adapter of `params`, or the network and all that belongs to it.
    pub fn save(
        &self,
        params: &Params,
        folder: &Path,
        network: impl FnOnce() -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        if let Some(adapter) = &self.adapter {
            adapter::save(adapter, params, folder)?;
            return Ok(self.tokenizer.save(folder)?);
        }
        network()?;
        self.tokenizer.save(folder)?;
        self.kept.iter().try_for_each(|file| file.write(folder))
    }

    /// See [`Model::lr_factors`](crate::Model::lr_factors).
    pub fn lr_factors(&self) -> Vec<(String, f64)> {
        self.adapter.as_ref().map(|adapter| adapter.options.lr_factors()).unwrap_or_default()
    }

    /// See [`Model::fingerprint`](crate::Model::fingerprint).
    pub fn fingerprint(&self) -> String {
        format!("tokenizer {}", sha256(self.tokenizer.json()))
    }
}
