//! Adapters: what is trained of a model whose own weights stay, in peft's format.

mod config;
mod files;
mod gguf;
mod lora;
mod merge;
mod principal;
mod stack;
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rappel_config::ConfigError;
use rappel_model::ModelConfig;
use rappel_nn::Values;
use rappel_tensor::{LowRank, Params, Shape, Tensor};

use super::model_folder;
use crate::TrainError;

pub use lora::{InitLora, LoraOptions};
pub use merge::{Merged, merge};
pub use targets::Targets;

pub(super) use files::{fill, load_adapted, save};
pub(super) use gguf::{Written, write as write_gguf};
pub(super) use stack::load_several;

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
    /// What it began as, where its weights lost that: by the names of its matrices.
    pub initial: Vec<(String, Tensor)>,
}

impl Adapter {
    /// What a model of `base` is to train, whose parameters are `params`: values that adapters begin at are set.
    ///
    /// # Errors
    /// An adapter that training is to continue with, and that does not fit.
    pub(crate) fn begin(
        options: LoraOptions,
        base: PathBuf,
        task_type: TaskType,
        params: &mut Params,
    ) -> Result<Self, TrainError> {
        let init = options.init_lora_weights;
        let mut initial = Vec::new();
        if let Some(path) = &options.adapter_name_or_path {
            let folder = model_folder(Path::new(path), &mut ())?;
            files::fill(params, &base, &folder, &options)?;
        } else if init.takes_part() {
            initial = principal::begin(params, init)?;
        }
        Ok(Self { options, base, task_type, initial })
    }
}

/// The layers of a model that have adapters.
fn adapted_modules(params: &Params) -> Vec<String> {
    let module = |name: &String| Some(name.split_once(".lora_A.")?.0.to_owned());
    params.adapters().iter().filter_map(module).collect()
}

/// Gives the layers for which the adapter of a folder has matrices such, as they are registered in `params`.
pub(super) fn adapt_as_in(
    folder: &Path,
    options: &LoraOptions,
    params: &mut Params,
) -> Result<(), TrainError> {
    let (modules, options) = (files::modules(folder)?, options.clone());
    params.adapt(move |name, shape| {
        let module = name.strip_suffix(".weight")?;
        modules.iter().any(|known| known == module).then(|| options.low_rank(module, shape[1]))
    });
    Ok(())
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
    /// The options of the adapter that training is to continue with, where one is named; what is to be another one there
    /// is an error.
    ///
    /// # Errors
    /// An adapter that is not there; the option, and what is wrong with it.
    pub(crate) fn continued(self) -> Result<Self, TrainError> {
        let Some(path) = &self.adapter_name_or_path else { return Ok(self) };
        let folder = model_folder(Path::new(path), &mut ())?;
        let saved = Adapter::read(&folder)?.options;
        let default = Self::default();
        let differs = [
            ("r", self.r != default.r && self.r != saved.r),
            (
                "lora_alpha",
                self.lora_alpha != default.lora_alpha && self.lora_alpha != saved.lora_alpha,
            ),
            ("target_modules", self.target_modules != default.target_modules),
            ("init_lora_weights", self.init_lora_weights != default.init_lora_weights),
            ("use_dora", self.use_dora && !saved.use_dora),
            ("use_rslora", self.use_rslora && !saved.use_rslora),
        ];
        if let Some((option, _)) = differs.iter().find(|(_, differs)| *differs) {
            let reason = format!(
                "the adapter of {} has its own, and training continues with that; leave it out",
                folder.display()
            );
            return Err(ConfigError::invalid(format!("model.lora.{option}"), reason).into());
        }
        let modules = files::modules(&folder)?;
        Ok(Self {
            lora_dropout: self.lora_dropout,
            loraplus_lr_ratio: self.loraplus_lr_ratio,
            adapter_name_or_path: self.adapter_name_or_path,
            target_modules: Targets::Ends(modules),
            ..saved
        })
    }

    /// Globs of parameters' names, and how many times the optimizer's learning rate is theirs.
    pub(crate) fn lr_factors(&self) -> Vec<(String, f64)> {
        let ratio = self.loraplus_lr_ratio;
        let magnitudes = self.use_dora.then_some("*.lora_magnitude_vector");
        let names = ["*.lora_B.weight"].into_iter().chain(magnitudes);
        let with = |ratio: f64| names.map(move |name| (name.to_owned(), ratio)).collect();
        ratio.map(with).unwrap_or_default()
    }

    /// Gives the linear layers that are meant adapters as they are registered in `params`.
    pub(crate) fn adapt(&self, params: &mut Params) {
        let options = self.clone();
        params.adapt(move |name, shape| options.form(name, shape));
    }

    /// Whether a parameter is trained.
    pub(crate) fn trains(&self, name: &str) -> bool {
        is_part(name) || self.modules_to_save.iter().any(|module| lora::is_within(name, module))
    }

    /// Leaves out modules to save that a model which `build` registers has no parameters of.
    pub(crate) fn keep_modules_of(&mut self, build: impl FnOnce(&mut Params)) {
        let (_, names) = modules(build);
        self.modules_to_save.retain(|of| names.iter().any(|name| lora::is_within(name, of)));
    }

    /// Whether each module that is named is there in a model.
    ///
    /// # Errors
    /// The option and what is wrong with it.
    pub(crate) fn check_against(
        &self,
        config: &dyn ModelConfig,
    ) -> Result<(), (&'static str, String)> {
        let build = |params: &mut Params| {
            config.build_with(params, Values::Placeholders);
        };
        self.check_layers(build)
    }

    /// The same for a model that `build` registers.
    ///
    /// # Errors
    /// As [`check_against`](Self::check_against).
    pub(crate) fn check_layers(
        &self,
        build: impl FnOnce(&mut Params),
    ) -> Result<(), (&'static str, String)> {
        let (linear, names) = modules(build);
        let meant = |target: &str| linear.iter().any(|module| lora::is_named(module, target));
        let known: BTreeSet<&str> =
            linear.iter().filter_map(|module| module.rsplit('.').next()).collect();
        let known = || known.iter().copied().collect::<Vec<_>>().join(", ");
        for target in self.target_modules.named() {
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
            if let Targets::Regex(regex) = &self.target_modules
                && !linear.iter().any(|module| self.target_modules.has(module))
            {
                let example = linear.first().map_or("", String::as_str);
                let reason = format!(
                    "`{regex}` matches no linear layer; it is compared with whole names such as `{example}`"
                );
                return Err(("target_modules", reason));
            }
            let reason = "no layer is left to adapt; layers are counted from 0".to_owned();
            return Err(("layers_to_transform", reason));
        }
        Ok(())
    }
}

/// The linear layers of a model, and the names of all its parameters.
fn modules(build: impl FnOnce(&mut Params)) -> (Vec<String>, Vec<String>) {
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&found);
    let mut params = Params::new(0);
    params.adapt(move |name, _| -> Option<LowRank> {
        let module = name.strip_suffix(".weight").unwrap_or(name).to_owned();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(module);
        None
    });
    build(&mut params);
    let linear = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (linear, params.names())
}
