//! Writing a model.

use std::collections::BTreeMap;
use std::path::Path;

use rappel_files::{FileError, replace};
use rappel_tensor::{Params, write_tensors_to};
use serde_json::Value;

use super::{CONFIG, FilesError, WEIGHTS};
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
    let dir = dir.as_ref();
    std::fs::create_dir_all(dir).map_err(FileError::new("create", dir))?;
    let mut config = model.config().to_json();
    let eos = match eos_token_id {
        [] => Value::Null,
        [one] => (*one).into(),
        several => several.into(),
    };
    config.insert("eos_token_id".to_owned(), eos);
    let text = format!("{:#}\n", Value::Object(config));
    replace(&dir.join(CONFIG), |out| out.write_all(text.as_bytes()))?;
    // transformers refuses files that do not say which framework's layout they have.
    let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    replace(&dir.join(WEIGHTS), |out| write_tensors_to(out, params.merged(), &format))?;
    Ok(())
}
