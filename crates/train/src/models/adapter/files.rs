//! The tensors of adapters, in files and out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rappel_files::replace;
use rappel_model::{ModelFiles, Pretrained};
use rappel_tensor::{Params, Tensor, TensorFile, write_tensors_to};

use super::{Adapter, CONFIG, PREFIX, WEIGHTS, is_part};
use crate::TrainError;
use crate::models::Loading;

/// Writes an adapter: its config and the parameters that were trained.
pub(in crate::models) fn save(
    adapter: &Adapter,
    params: &Params,
    folder: &Path,
) -> Result<(), TrainError> {
    let trained = params.tensors().into_iter().filter(|(name, _)| adapter.options.trains(name));
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

/// The model of `base` with the adapter of `folder` on it, whose own parameters are constants.
pub(in crate::models) fn load_adapted(
    base: &Path,
    folder: &Path,
    Loading { dtype, storage }: Loading,
) -> Result<Pretrained, TrainError> {
    let adapter = Adapter::read(folder)?;
    let path = folder.join(WEIGHTS);
    let wrong = |reason: String| TrainError::File { path: path.clone(), reason };
    let file = TensorFile::open(&path)?;
    let mut left: BTreeMap<String, String> = BTreeMap::new();
    for stored in file.names() {
        let name = stored.strip_prefix(PREFIX).ok_or_else(|| {
            wrong(format!(
                "`{stored}` is not a tensor of an adapter, whose names begin with {PREFIX}"
            ))
        })?;
        left.insert(name.to_owned(), stored.clone());
    }
    let modules: BTreeSet<String> =
        left.keys().filter_map(|name| Some(name.split_once(".lora_A.")?.0.to_owned())).collect();
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
    let mut missing = Vec::new();
    for entry in read.params.entries() {
        let is_saved = !is_part(&entry.name) && adapter.options.trains(&entry.name);
        let Some(stored) = left.remove(&entry.name) else {
            missing.extend((is_part(&entry.name) || is_saved).then_some(entry.name));
            continue;
        };
        let tensor = file.tensor(&stored)?;
        if tensor.shape() != entry.shape {
            return Err(wrong(format!(
                "`{stored}` is {}, but with this model and r it is {}",
                tensor.shape(),
                entry.shape
            )));
        }
        let param = read.params.get(&entry.name).expect("an entry is a parameter");
        read.params.set(&param, &tensor)?;
    }
    if let Some(name) = missing.first() {
        return Err(wrong(format!("has no `{PREFIX}{name}` ({} are missing)", missing.len())));
    }
    if let Some(name) = left.values().next() {
        return Err(wrong(format!(
            "`{name}` is of no layer of the model in {} ({} such); it is an adapter of another model",
            base.display(),
            left.len()
        )));
    }
    Ok(read)
}
