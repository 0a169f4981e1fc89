//! Several adapters at once, whose changes are added up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rappel_model::{ModelFiles, Pretrained};
use rappel_tensor::{Init, LowRank, Params, Tensor, WeightLayout, concat};

use super::files::Tensors;
use super::{Adapter, CONFIG, is_part};
use crate::TrainError;
use crate::models::Loading;

/// The matrices of a layer side by side: `b a` is the sum of the adapters' changes, each with its scale.
struct Layer {
    a: Vec<Tensor>,
    b: Vec<Tensor>,
}

/// The model of `base` with all these adapters on it.
pub(in crate::models) fn load_several(
    base: &Path,
    folders: &[PathBuf],
    Loading { dtype, storage }: Loading,
) -> Result<Pretrained, TrainError> {
    let mut layers: BTreeMap<String, Layer> = BTreeMap::new();
    for folder in folders {
        add(folder, &mut layers)?;
    }
    let files = ModelFiles::open(base)?.kept(storage);
    let stored = dtype.map_or_else(|| files.dtype(), Ok)?;
    let config = files.config(stored)?;
    let mut params = Params::with_dtype(0, stored);
    let ranks: BTreeMap<String, usize> = layers
        .iter()
        .map(|(module, layer)| (module.clone(), layer.a.iter().map(|a| a.size(0)).sum()))
        .collect();
    params.adapt(move |name, _| {
        let rank = *ranks.get(name.strip_suffix(".weight")?)?;
        Some(LowRank {
            rank,
            scale: 1.0,
            dropout: 0.0,
            magnitude: false,
            a: Init::ZEROS,
            b: Init::ZEROS,
            layout: WeightLayout::OutIn,
        })
    });
    let mut read = files.load(params, config.as_ref(), dtype.is_some(), &|name| !is_part(name))?;
    for (module, layer) in layers {
        for (part, tensors, axis) in [("A", layer.a, 0), ("B", layer.b, 1)] {
            let value = concat(&tensors.iter().collect::<Vec<_>>(), axis);
            let param = read.params.get(&format!("{module}.lora_{part}.weight"));
            let fits = param.filter(|param| param.shape() == value.shape());
            let Some(param) = fits else {
                let reason = format!(
                    "the layer `{module}` of an adapter is not one of the model in {}, or of another size there",
                    base.display()
                );
                return Err(TrainError::File { path: folders[0].clone(), reason });
            };
            read.params.set(&param, &value)?;
        }
    }
    Ok(read)
}

/// Adds the matrices of the adapter of a folder.
fn add(folder: &Path, layers: &mut BTreeMap<String, Layer>) -> Result<(), TrainError> {
    let adapter = Adapter::read(folder)?;
    let tensors = Tensors::open(folder)?;
    let whole = tensors.names.keys().find(|name| !is_part(name));
    if adapter.options.use_dora || whole.is_some() {
        let what = whole.map_or_else(
            || "magnitudes of rows (use_dora)".to_owned(),
            |name| format!("the module `{name}`, trained whole"),
        );
        let reason = format!(
            "it has {what}, which cannot be added to other adapters; give it alone, or merge it with `rappel merge`"
        );
        return Err(TrainError::File { path: folder.join(CONFIG), reason });
    }
    for module in tensors.modules() {
        let [a, b] = ["A", "B"].map(|part| tensors.tensor(&format!("{module}.lora_{part}.weight")));
        let (a, b) = (a?, b?);
        let scale = adapter.options.low_rank(&module, a.size(1)).scale;
        let fits =
            |layer: &Layer| layer.a[0].size(1) == a.size(1) && layer.b[0].size(0) == b.size(0);
        let layer = layers.entry(module.clone()).or_insert(Layer { a: Vec::new(), b: Vec::new() });
        if a.size(0) != b.size(1) || !(layer.a.is_empty() || fits(layer)) {
            let sizes = format!("{} and {}", a.shape(), b.shape());
            return Err(
                tensors.wrong(format!("the matrices of `{module}` are {sizes}, which do not fit"))
            );
        }
        layer.a.push(a);
        layer.b.push(b * scale);
    }
    Ok(())
}
