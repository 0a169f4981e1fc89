//! Directories whose config.json names an entry of a registry.

use std::path::Path;

use rappel_config::{ConfigError, Entry, Options, Registry};
use rappel_tensor::DType;
use serde_json::{Map, Value};
use toml::Table;

use super::load::read_json;
use super::{CONFIG, FilesError};

/// Whether a directory's config.json names an entry.
pub fn is_in<B>(registry: &Registry<B>, dir: &Path) -> bool {
    read_json(&dir.join(CONFIG)).is_ok_and(|json| entry_of(registry, &json).is_some())
}

/// The config.json of a directory, and the entry that it names; `what` says what was expected, such as `an encoder`.
pub fn open<B>(
    registry: &Registry<B>,
    dir: &Path,
    what: &str,
) -> Result<(Map<String, Value>, &'static Entry<B>), FilesError> {
    let path = dir.join(CONFIG);
    let json = read_json(&path)?;
    let Some(entry) = entry_of(registry, &json) else {
        let found = json.get("model_type").unwrap_or(&Value::Null);
        let known = registry.names().join(", ");
        let reason = format!("`model_type` is {found}, expected {what} (known: {known})");
        return Err(FilesError::Json { path, reason });
    };
    Ok((json, entry))
}

/// What `configure` makes of an entry's options with parameters of `dtype`; `path` is where they were read.
pub fn configured<B, T>(
    registry: &Registry<B>,
    entry: &Entry<B>,
    mut options: Table,
    dtype: DType,
    path: &Path,
    configure: impl FnOnce(&Options) -> Result<T, ConfigError>,
) -> Result<T, FilesError> {
    options.insert("name".to_owned(), entry.name.into());
    options.insert("dtype".to_owned(), dtype.to_string().into());
    let configured = registry.resolve("", &options).and_then(|(_, options)| configure(&options));
    configured.map_err(|source| FilesError::config(path.to_owned(), source))
}

fn entry_of<B>(registry: &Registry<B>, json: &Map<String, Value>) -> Option<&'static Entry<B>> {
    let name = json.get("model_type")?.as_str()?;
    registry.entries.iter().find(|entry| entry.name == name)
}
