//! Writing a model.

use std::collections::BTreeMap;
use std::path::Path;

use rappel_files::{FileError, replace};
use rappel_tensor::{DType, Params, StreamedTensor, write_tensors_to};
use serde_json::{Map, Value};

use super::{CONFIG, FilesError, Pretrained, WEIGHTS, bitsandbytes};
use crate::LanguageModel;

/// Writes `config.json` and `model.safetensors` into `dir`, which it makes, so that transformers'
/// `from_pretrained` reads them.
///
/// Each file is written beside its place, synced and renamed: a file that was there is whole, old
/// or new, whatever happens. `eos_token_id` are the tokens that end a text.
///
/// # Errors
/// [`FilesError::Write`], a full disk among others.
pub fn save_pretrained(
    dir: impl AsRef<Path>,
    model: &dyn LanguageModel,
    params: &Params,
    eos_token_id: &[u32],
) -> Result<(), FilesError> {
    save(dir.as_ref(), model, params, eos_token_id, &Map::new())
}

impl Pretrained {
    /// Writes the model as [`save_pretrained`] does, with the further keys of its config.json.
    ///
    /// # Errors
    /// As [`save_pretrained`].
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), FilesError> {
        let Self { model, params, eos_token_id, extra } = self;
        save(dir.as_ref(), model.as_ref(), params, eos_token_id, extra)
    }
}

fn save(
    dir: &Path,
    model: &dyn LanguageModel,
    params: &Params,
    eos_token_id: &[u32],
    extra: &Map<String, Value>,
) -> Result<(), FilesError> {
    let mut config = model.config().to_json();
    let eos = match eos_token_id {
        [] => Value::Null,
        [one] => (*one).into(),
        several => several.into(),
    };
    config.insert("eos_token_id".to_owned(), eos);
    config.extend(extra.clone());
    write(dir, config, params, model.config().dtype())
}

/// Writes a JSON file and its folder.
pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), FilesError> {
    let dir = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(dir).map_err(FileError::new("create", dir))?;
    Ok(replace(path, |out| out.write_all(format!("{value:#}\n").as_bytes()))?)
}

/// Writes config.json and model.safetensors into `dir`, which it makes. Weights that are kept in a form of bitsandbytes
/// stay so; others of a few bits become numbers.
pub(super) fn write(
    dir: &Path,
    mut config: Map<String, Value>,
    params: &Params,
    dtype: DType,
) -> Result<(), FilesError> {
    let mut tensors: Vec<StreamedTensor> =
        params.merged_dense().into_iter().map(StreamedTensor::from).collect();
    for (name, _) in params.quantized() {
        let weight = params.quantized_weight(&name).expect("a model that was read has all");
        match bitsandbytes::tensors(&name, &weight, dtype) {
            Some(parts) => {
                let described = || bitsandbytes::config(&weight, dtype);
                config.entry(bitsandbytes::KEY).or_insert_with(described);
                tensors.extend(parts);
            }
            None => tensors.push((name, weight.dequantize(dtype)).into()),
        }
    }
    write_tensors(dir, config, tensors)
}

/// Writes config.json and these tensors as model.safetensors into `dir`, which it makes.
pub(super) fn write_tensors<'a>(
    dir: &Path,
    config: Map<String, Value>,
    tensors: impl IntoIterator<Item = impl Into<StreamedTensor<'a>>>,
) -> Result<(), FilesError> {
    write_json(&dir.join(CONFIG), &Value::Object(config))?;
    // transformers refuses files that do not say which framework's layout they have.
    let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    replace(&dir.join(WEIGHTS), |out| write_tensors_to(out, tensors, &format))?;
    Ok(())
}
