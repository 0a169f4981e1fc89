//! Writing a model.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rappel_tensor::{Params, write_tensors};
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
/// [`FilesError::Io`] and [`FilesError::Storage`], a full disk among others.
pub fn save_pretrained(
    dir: impl AsRef<Path>,
    model: &dyn LanguageModel,
    params: &Params,
    eos_token_id: &[u32],
) -> Result<(), FilesError> {
    let dir = dir.as_ref();
    std::fs::create_dir_all(dir)
        .map_err(|source| FilesError::Io { path: dir.to_owned(), source })?;
    let mut config = model.config().to_json();
    let eos = match eos_token_id {
        [] => Value::Null,
        [one] => (*one).into(),
        several => several.into(),
    };
    config.insert("eos_token_id".to_owned(), eos);
    let text = format!("{:#}\n", Value::Object(config));
    replace(&dir.join(CONFIG), |path| {
        std::fs::write(path, &text)
            .map_err(|source| FilesError::Io { path: path.to_owned(), source })
    })?;
    // transformers refuses files that do not say which framework's layout they have.
    let format = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    replace(&dir.join(WEIGHTS), |path| Ok(write_tensors(path, params.merged(), &format)?))
}

/// Lets `write` make a file under another name, and puts it at `path` once it is on the disk.
fn replace(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), FilesError>,
) -> Result<(), FilesError> {
    let io = |source| FilesError::Io { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let beside = path.with_file_name(name);
    let done = write(&beside)
        .and_then(|()| File::open(&beside).and_then(|file| file.sync_all()).map_err(io))
        .and_then(|()| std::fs::rename(&beside, path).map_err(io));
    if done.is_err() {
        // What matters is the first error; the half-written file is only in the way.
        let _ = std::fs::remove_file(&beside);
    }
    done
}
