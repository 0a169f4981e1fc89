//! Adapters as GGUF files, as llama.cpp reads them beside their model.

use std::path::Path;

use rappel_files::replace;
use rappel_model::ModelFiles;
use rappel_model::gguf::{MetaValue, Metadata, NewTensor, Quantization, adapter_place, write_gguf};
use rappel_tensor::{DType, Tensor};

use super::files::Tensors;
use super::{Adapter, CONFIG, is_part};
use crate::TrainError;
use crate::models::model_folder;

/// An adapter that was written.
pub(in crate::models) struct Written {
    /// Hugging Face's `model_type` of its model.
    pub architecture: String,
    /// How many numbers it has.
    pub parameters: usize,
}

/// Writes the adapter of a folder into a GGUF file, in single precision. Its model says how layers are called there.
pub(in crate::models) fn write(folder: &Path, to: &Path) -> Result<Written, TrainError> {
    let adapter = Adapter::read(folder)?;
    let base = model_folder(&adapter.base, &mut ())?;
    if adapter.base.as_os_str().is_empty() || !base.exists() {
        let reason = format!(
            "its model `{}` is not there, which says how its layers are called in a GGUF file",
            adapter.base.display()
        );
        return Err(TrainError::File { path: folder.join(CONFIG), reason });
    }
    let config = ModelFiles::open(&base)?.config(DType::F32)?;
    let tensors = Tensors::open(folder)?;
    let other = tensors.names.keys().find(|name| !is_part(name));
    if adapter.options.use_dora || other.is_some() {
        let what = other.map_or_else(
            || "magnitudes of rows (use_dora)".to_owned(),
            |name| format!("the module `{name}`, trained whole"),
        );
        let reason = format!(
            "it has {what}, which adapters in GGUF files cannot hold; merge it with `rappel merge`, and convert that"
        );
        return Err(TrainError::File { path: folder.join(CONFIG), reason });
    }
    let alpha = adapter.options.lora_alpha;
    let (mut written, mut parameters) = (Vec::new(), 0);
    let mut architecture = None;
    for module in tensors.modules() {
        let part = |part: &str| -> Result<Tensor, TrainError> {
            let tensor = tensors.tensor(&format!("{module}.lora_{part}.weight"))?;
            Ok(tensor.to_dtype(DType::F32))
        };
        let (a, b) = (part("A")?, part("B")?);
        let form = adapter.options.low_rank(&module, a.size(1));
        // Readers multiply by alpha over the rank; what differs from that goes into the second matrix.
        let factor = form.scale * form.rank as f64 / alpha;
        let b = if (factor - 1.0).abs() < 1e-12 { b } else { b * factor };
        let place = adapter_place(config.as_ref(), &format!("{module}.weight"), b.size(0));
        let Some((name, rows, of)) = place else {
            return Err(tensors.wrong(format!("GGUF files have no place for the layer `{module}`")));
        };
        architecture = Some(of);
        let ids: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let b = rappel_tensor::embedding(&Tensor::from_slice(&ids, [ids.len()]), &b);
        for (ending, tensor) in [("lora_a", a), ("lora_b", b)] {
            parameters += tensor.count();
            let numbers = tensor.to_vec::<f32>();
            written.push(NewTensor {
                name: format!("{name}.{ending}"),
                shape: tensor.shape(),
                quantization: Quantization::F32,
                numbers: Box::new(move |give| give(&numbers)),
            });
        }
    }
    let Some(architecture) = architecture else {
        return Err(tensors.wrong("has no matrices of an adapter".to_owned()));
    };
    let mut metadata = Metadata::default();
    let text = |text: &str| MetaValue::Text(text.to_owned());
    metadata.set("general.architecture", text(architecture));
    metadata.set("general.type", text("adapter"));
    metadata.set("general.name", text(&to.file_stem().unwrap_or_default().to_string_lossy()));
    metadata.set("adapter.type", text("lora"));
    metadata.set("adapter.lora.alpha", MetaValue::Float(alpha));
    replace(to, |out| write_gguf(out, &metadata, &written))?;
    Ok(Written { architecture: config.model_type().to_owned(), parameters })
}
