//! The tensors of adapters, in files and out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rappel_files::replace;
use rappel_model::{ModelFiles, Pretrained};
use rappel_tensor::{Params, Tensor, TensorFile, concat, write_tensors_to};

use super::{Adapter, CONFIG, LoraOptions, PREFIX, WEIGHTS, is_part};
use crate::TrainError;
use crate::models::Loading;

/// Writes an adapter: its config and the parameters that were trained.
pub(in crate::models) fn save(
    adapter: &Adapter,
    params: &Params,
    folder: &Path,
) -> Result<(), TrainError> {
    let trained = params.tensors().into_iter().filter(|(name, _)| adapter.options.trains(name));
    let trained = trained.map(|(name, tensor)| adapter.difference(name, tensor));
    let tensors: Vec<(String, Tensor)> =
        trained.map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor)).collect();
    let modules = tensors.iter().filter_map(|(name, _)| {
        let (module, _) = name.split_once(".lora_A.")?;
        module.rsplit('.').next().map(str::to_owned)
    });
    let targets: BTreeSet<String> = modules.collect();
    // GPT-2's layers, whose weights lie the other way.
    let fan_in_fan_out = targets.iter().any(|target| target.starts_with("c_"));
    let json = adapter.to_json(&targets.into_iter().collect::<Vec<_>>(), fan_in_fan_out);
    let text = format!("{json:#}\n");
    replace(&folder.join(CONFIG), |out| out.write_all(text.as_bytes()))?;
    let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(replace(&folder.join(WEIGHTS), |out| write_tensors_to(out, tensors, &format))?)
}

impl Adapter {
    /// What is saved of a trained matrix: beside it, what it began as, where the weight lost that.
    fn difference(&self, name: String, tensor: Tensor) -> (String, Tensor) {
        let Some((_, first)) = self.initial.iter().find(|(other, _)| *other == name) else {
            return (name, tensor);
        };
        let both = if name.contains(".lora_A.") {
            concat(&[&tensor, first], 0)
        } else {
            concat(&[&tensor, &(first * -1.0)], 1)
        };
        (name, both)
    }
}

/// The tensors of an adapter in a folder.
pub(super) struct Tensors {
    path: PathBuf,
    file: TensorFile,
    /// Names of parameters, and those in the file.
    pub names: BTreeMap<String, String>,
}

impl Tensors {
    pub fn open(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(WEIGHTS);
        let file = TensorFile::open(&path)?;
        let mut names = BTreeMap::new();
        for stored in file.names() {
            let Some(name) = stored.strip_prefix(PREFIX) else {
                let reason = format!(
                    "`{stored}` is not a tensor of an adapter, whose names begin with {PREFIX}"
                );
                return Err(TrainError::File { path, reason });
            };
            names.insert(name.to_owned(), stored.clone());
        }
        Ok(Self { path, file, names })
    }

    /// The layers that have an adapter.
    pub fn modules(&self) -> BTreeSet<String> {
        let module = |name: &String| Some(name.split_once(".lora_A.")?.0.to_owned());
        self.names.keys().filter_map(module).collect()
    }

    pub fn tensor(&self, name: &str) -> Result<Tensor, TrainError> {
        match self.names.get(name) {
            Some(stored) => Ok(self.file.tensor(stored)?),
            None => Err(self.wrong(format!("has no `{PREFIX}{name}`"))),
        }
    }

    pub fn wrong(&self, reason: String) -> TrainError {
        TrainError::File { path: self.path.clone(), reason }
    }
}

/// The layers that the adapter of a folder has matrices for.
pub(super) fn modules(folder: &Path) -> Result<Vec<String>, TrainError> {
    Ok(Tensors::open(folder)?.modules().into_iter().collect())
}

/// The model of `base` with the adapter of `folder` on it, whose own parameters are constants.
pub(in crate::models) fn load_adapted(
    base: &Path,
    folder: &Path,
    Loading { dtype, storage }: Loading,
) -> Result<Pretrained, TrainError> {
    let adapter = Adapter::read(folder)?;
    let modules = Tensors::open(folder)?.modules();
    let files = ModelFiles::open(base)?.kept(storage);
    let stored = dtype.map_or_else(|| files.dtype(), Ok)?;
    let config = files.config(stored)?;
    let mut params = Params::with_dtype(0, stored);
    let options = adapter.options.clone();
    params.adapt(move |name, shape| {
        let module = name.strip_suffix(".weight")?;
        modules.contains(module).then(|| options.low_rank(module, shape[1]))
    });
    let frozen = |name: &str| !adapter.options.trains(name);
    let mut read = files.load(params, config.as_ref(), dtype.is_some(), &frozen)?;
    fill(&mut read.params, base, folder, &adapter.options)?;
    Ok(read)
}

/// Sets what an adapter trains in `params`, of a model of `base`, to the tensors of a folder, each of which is one of them.
pub(in crate::models) fn fill(
    params: &mut Params,
    base: &Path,
    folder: &Path,
    options: &LoraOptions,
) -> Result<(), TrainError> {
    let tensors = Tensors::open(folder)?;
    let mut left = tensors.names.clone();
    let mut missing = Vec::new();
    for entry in params.entries() {
        let is_saved = !is_part(&entry.name) && options.trains(&entry.name);
        if left.remove(&entry.name).is_none() {
            missing.extend((is_part(&entry.name) || is_saved).then_some(entry.name));
            continue;
        }
        let tensor = tensors.tensor(&entry.name)?;
        if tensor.shape() != entry.shape {
            return Err(tensors.wrong(format!(
                "`{PREFIX}{}` is {}, but with this model and r it is {}",
                entry.name,
                tensor.shape(),
                entry.shape
            )));
        }
        let param = params.get(&entry.name).expect("an entry is a parameter");
        params.set(&param, &tensor)?;
    }
    if let Some(name) = missing.first() {
        let count = missing.len();
        return Err(tensors.wrong(format!("has no `{PREFIX}{name}` ({count} are missing)")));
    }
    if let Some(name) = left.values().next() {
        return Err(tensors.wrong(format!(
            "`{name}` is of no layer of the model in {} ({} such); it is an adapter of another model",
            base.display(),
            left.len()
        )));
    }
    Ok(())
}
