//! Writing a model into a GGUF file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rappel_config::Entry;
use rappel_files::replace;
use rappel_tensor::{BlockFormat, Params, Shape, Tensor};
use serde_json::{Map, Value};

use super::config::Header;
use super::config_out::{Factors, layer_types, metadata};
use super::{Form, MetaValue, Metadata, NewTensor, Place, Quantization, write_gguf};
use crate::files::FilesError;
use crate::files::load::configure;
use crate::{ARCHITECTURES, Architecture, LanguageModel};

/// Writes a model into a GGUF file, its matrices as `kind`: vectors and the routers of experts are in single precision,
/// and matrices whose rows are not whole blocks in half precision, as llama.cpp's converter has it. `more` are further
/// keys, such as those of the tokenizer.
///
/// The file is written beside its place, synced and renamed.
///
/// # Errors
/// [`FilesError::NotInGguf`] for options that GGUF files have no way to say; [`FilesError::Write`].
pub fn save_gguf(
    path: impl AsRef<Path>,
    model: &dyn LanguageModel,
    params: &Params,
    kind: Quantization,
    more: &Metadata,
) -> Result<(), FilesError> {
    let (path, config) = (path.as_ref(), model.config().to_json());
    let refused = |reason: String| FilesError::NotInGguf { path: path.to_owned(), reason };
    let entry = ARCHITECTURES
        .lookup(model.config().model_type())
        .map_err(|source| FilesError::config(path.to_owned(), source))?;
    let (mut metadata, factors) = metadata(&entry.build.gguf, &config).map_err(refused)?;
    let stored = tensors(entry, &config, params, kind).map_err(refused)?;
    check_lost(path, &metadata, &factors, &stored, &config, model)?;
    metadata.set("general.file_type", MetaValue::Int(file_type(kind)));
    metadata.set("general.quantization_version", MetaValue::Int(2));
    more.iter().for_each(|(key, value)| metadata.set(key.clone(), value.clone()));
    let factors = factors.into_iter().map(|(name, numbers)| NewTensor {
        name: name.to_owned(),
        shape: Shape::from([numbers.len()]),
        quantization: Quantization::F32,
        numbers: Box::new(move |give| give(&numbers)),
    });
    let all: Vec<NewTensor> = factors.chain(stored.into_values().map(Stored::written)).collect();
    Ok(replace(path, |out| write_gguf(out, &metadata, &all))?)
}

/// A tensor of the file, and the parameters that it is made of.
struct Stored {
    name: String,
    shape: Shape,
    quantization: Quantization,
    parts: Vec<(Place, Tensor)>,
}

impl Stored {
    fn written(self) -> NewTensor<'static> {
        let Self { name, shape, quantization, parts } = self;
        let numbers = move |give: &mut dyn FnMut(&[f32]) -> io::Result<()>| {
            parts.iter().try_for_each(|(place, tensor)| {
                let numbers = tensor.to_dtype(rappel_tensor::DType::F32).to_vec::<f32>();
                give(&place.stored(tensor.shape(), numbers))
            })
        };
        NewTensor { name, shape, quantization, numbers: Box::new(numbers) }
    }
}

/// The tensors of the file by name.
fn tensors(
    entry: &Entry<Architecture>,
    config: &Map<String, Value>,
    params: &Params,
    kind: Quantization,
) -> Result<BTreeMap<String, Stored>, String> {
    let mut stored: BTreeMap<String, Stored> = BTreeMap::new();
    for (name, tensor) in params.merged() {
        let Some(place) = entry.build.gguf.place(&name, config) else {
            return Err(format!("GGUF files have no place for the parameter `{name}`"));
        };
        let shape = tensor.shape();
        let (shape, quantization) = match place.form {
            Form::Transposed => (Shape::from([shape[1], shape[0]]), kind),
            Form::Part { .. } => (Shape::new(&[&[0], &shape[..]].concat()), kind),
            _ => (shape, kind),
        };
        let row = shape[shape.rank() - 1];
        let is_router = place.tensor.contains("ffn_gate_inp");
        let quantization = match quantization {
            _ if shape.rank() < 2 || is_router => Quantization::F32,
            kind if !row.is_multiple_of(kind.block()) => Quantization::F16,
            kind => kind,
        };
        let name = place.tensor.clone();
        let tensors = stored.entry(name.clone()).or_insert_with(|| Stored {
            name,
            shape,
            quantization,
            parts: Vec::new(),
        });
        if let Form::Part { .. } = place.form {
            tensors.shape[0] += 1;
        }
        tensors.parts.push((place, tensor));
    }
    for tensors in stored.values_mut() {
        tensors.parts.sort_by_key(|(place, _)| match place.form {
            Form::Part { index } => index,
            _ => 0,
        });
    }
    Ok(stored)
}

/// What `general.file_type` is.
fn file_type(kind: Quantization) -> i64 {
    match kind {
        Quantization::F32 => 0,
        Quantization::F16 => 1,
        Quantization::Blocks(BlockFormat::Q4_0) => 2,
        Quantization::Blocks(BlockFormat::Q8_0) => 7,
        Quantization::Bf16 => 32,
        // Only those above are written.
        Quantization::Blocks(_) => 1024,
    }
}

/// Options that only training looks at, that follow from others, or that a file has in another way.
const NOT_COMPARED: &[&str] = &[
    "architectures",
    "attention_dropout",
    "attn_pdrop",
    "bos_token_id",
    "dropout",
    "dtype",
    "embd_pdrop",
    "eos_token_id",
    "initializer_range",
    "model_type",
    "n_inner",
    "output_router_logits",
    "pad_token_id",
    "resid_pdrop",
    "rope_parameters",
    "rope_scaling",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "torch_dtype",
];

/// Reads the config back, from what is about to be written: nothing of it must be lost.
fn check_lost(
    path: &Path,
    metadata: &Metadata,
    factors: &Factors,
    stored: &BTreeMap<String, Stored>,
    config: &Map<String, Value>,
    model: &dyn LanguageModel,
) -> Result<(), FilesError> {
    let refused = |reason: String| FilesError::NotInGguf { path: path.to_owned(), reason };
    let factor = |name: &str| factors.iter().find(|(of, _)| *of == name).map(|(_, of)| of.clone());
    let shape = |name: &str| {
        let of_factor = || factor(name).map(|numbers| Shape::from([numbers.len()]));
        stored.get(name).map(|stored| stored.shape).or_else(of_factor)
    };
    let header = Header { metadata, shape: &shape, numbers: &factor };
    let (json, entry) = header.describe().map_err(refused)?;
    let again = configure(path, &json, entry, model.config().dtype())
        .map_err(|error| refused(error.to_string()))?
        .to_json();
    let again = comparable(&again, entry);
    let is_off = |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || *value == 0;
    for (key, value) in &comparable(config, entry) {
        let found = again.get(key).unwrap_or(&Value::Null);
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs();
        let same = found == value
            || (is_off(found) && is_off(value))
            || value.as_f64().zip(found.as_f64()).is_some_and(|(a, b)| near(a, b));
        if !same {
            return Err(refused(format!("GGUF files have no way to say `{key}` = {value}")));
        }
    }
    Ok(())
}

/// A config without what makes no difference.
fn comparable(config: &Map<String, Value>, entry: &Entry<Architecture>) -> Map<String, Value> {
    let mut config = config.clone();
    config.retain(|key, _| !NOT_COMPARED.contains(&key.as_str()));
    if config.get("use_sliding_window") == Some(&Value::Bool(false)) {
        for key in ["sliding_window", "max_window_layers", "layer_types"] {
            config.remove(key);
        }
    }
    // What readers of GGUF take for granted of the only architecture that has it.
    let has_rope = |(i, has): (usize, &Value)| *has == u8::from(!(i + 1).is_multiple_of(4));
    let given = config.get("no_rope_layers").and_then(Value::as_array);
    if given.is_some_and(|given| given.iter().enumerate().all(has_rope)) {
        config.remove("no_rope_layers");
    }
    if layer_types(&config, entry.build.gguf.window_period).is_none() {
        config.remove("layer_types");
    }
    config
}
