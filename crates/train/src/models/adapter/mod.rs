//! Adapters: what is trained of a model whose own weights stay, in peft's format.

mod config;
mod files;
mod lora;
mod merge;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rappel_model::ModelConfig;
use rappel_nn::Values;
use rappel_tensor::{LowRank, Params, Shape};

pub use lora::{InitLora, LoraOptions};
pub use merge::{Merged, merge};

pub(super) use files::{load_adapted, save};

/// The file that says what an adapter is.
pub(super) const CONFIG: &str = "adapter_config.json";
/// The file of its tensors.
const WEIGHTS: &str = "adapter_model.safetensors";
/// Both.
pub(super) const FILES: [&str; 2] = [CONFIG, WEIGHTS];
/// What names of tensors begin with.
const PREFIX: &str = "base_model.model.";

/// What an adapted model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskType {
    /// It writes.
    CausalLm,
    /// It scores.
    SeqCls,
}

/// An adapter of a model.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    pub options: LoraOptions,
    /// The model that it belongs to.
    pub base: PathBuf,
    /// What the model is for, in peft's words.
    pub task_type: TaskType,
}

/// Whether a folder holds an adapter and no model.
pub(super) fn is_in(folder: &Path) -> bool {
    folder.join(CONFIG).exists() && !folder.join("config.json").exists()
}

/// Whether a parameter is part of an adapter, by its name.
fn is_part(name: &str) -> bool {
    [".lora_A.", ".lora_B."].iter().any(|part| name.contains(part))
        || name.ends_with(".lora_magnitude_vector")
}

impl LoraOptions {
    /// Gives the linear layers that are meant adapters as they are registered in `params`.
    pub(crate) fn adapt(&self, params: &mut Params) {
        let options = self.clone();
        params.adapt(move |name, shape| options.form(name, shape));
    }

    /// Whether a parameter is trained.
    pub(crate) fn trains(&self, name: &str) -> bool {
        is_part(name) || self.modules_to_save.iter().any(|module| lora::is_within(name, module))
    }

    /// Whether each module that is named is there in a model.
    ///
    /// # Errors
    /// The option and what is wrong with it.
    pub(crate) fn check_against(
        &self,
        config: &dyn ModelConfig,
    ) -> Result<(), (&'static str, String)> {
        let (linear, names) = modules(config);
        let meant = |target: &str| linear.iter().any(|module| lora::is_named(module, target));
        let known: BTreeSet<&str> =
            linear.iter().filter_map(|module| module.rsplit('.').next()).collect();
        let known = || known.iter().copied().collect::<Vec<_>>().join(", ");
        for target in self.target_modules.iter().filter(|target| *target != lora::ALL) {
            if !meant(target) {
                let reason =
                    format!("`{target}` is no linear layer of the model; there are: {}", known());
                return Err(("target_modules", reason));
            }
        }
        for (option, pattern) in
            [("rank_pattern", &self.rank_pattern), ("alpha_pattern", &self.alpha_pattern)]
        {
            if let Some(name) = pattern.keys().find(|name| !meant(name)) {
                return Err((
                    option,
                    format!("`{name}` is no linear layer of the model; there are: {}", known()),
                ));
            }
        }
        for module in &self.modules_to_save {
            if !names.iter().any(|name| lora::is_within(name, module)) {
                let reason = format!(
                    "`{module}` has no parameters of its own in the model; a head that is tied to the embedding is named \
                     by that"
                );
                return Err(("modules_to_save", reason));
            }
        }
        let placeholder = Shape::from([1, 1]);
        if !linear
            .iter()
            .any(|module| self.form(&format!("{module}.weight"), placeholder).is_some())
        {
            let reason = "no layer is left to adapt; layers are counted from 0".to_owned();
            return Err(("layers_to_transform", reason));
        }
        Ok(())
    }
}

/// The linear layers of a model, and the names of all its parameters.
fn modules(config: &dyn ModelConfig) -> (Vec<String>, Vec<String>) {
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&found);
    let mut params = Params::new(0);
    params.adapt(move |name, _| -> Option<LowRank> {
        let module = name.strip_suffix(".weight").unwrap_or(name).to_owned();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(module);
        None
    });
    config.build_with(&mut params, Values::Placeholders);
    let linear = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (linear, params.names())
}
