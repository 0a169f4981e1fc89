//! What can be wrong with a model's directory.

use std::path::PathBuf;

use rappel_config::{ConfigError, suggest};
use rappel_files::FileError;
use rappel_tensor::{DType, ParamsError, StorageError};

/// What can go wrong with reading or writing a model's directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// A file could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] FileError),
    /// A GGUF file is damaged, or holds what is not supported.
    #[error("{path}: {reason}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Parameters that take the place of weights in another form, such as those of weight norm.
    #[error(
        "{path}: a weight such as `{name}` would be stored in another form, as by weight_norm, which weights that \
         were trained before cannot begin in; leave that out"
    )]
    Formed {
        /// The folder or file.
        path: PathBuf,
        /// The first of these weights.
        name: String,
    },
    /// A model that GGUF files have no way to hold.
    #[error("{path}: cannot be written as GGUF: {reason}; write the model as a folder")]
    NotInGguf {
        /// The file.
        path: PathBuf,
        /// What cannot be said.
        reason: String,
    },
    /// There are no tensors.
    #[error("{dir}: has neither model.safetensors nor model.safetensors.index.json")]
    NoWeights {
        /// The directory.
        dir: PathBuf,
    },
    /// A file is not JSON of the form wanted.
    #[error("{path}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// config.json describes a model that cannot be built.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Which key, and why.
        source: Box<ConfigError>,
    },
    /// config.json has something that this library does not compute.
    #[error("{path}: `{key}` is {value}, which is not supported; it must be false, null or absent")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// The index names a file of tensors that cannot be one.
    #[error("{path}: names the file `{shard}`; expected the plain name of a file beside it")]
    Shard {
        /// The index.
        path: PathBuf,
        /// What it names.
        shard: String,
    },
    /// Parameters that no file holds, and tensors that no parameter is called.
    #[error("{dir}: {}", apart(missing, unexpected))]
    Names {
        /// The directory.
        dir: PathBuf,
        /// The parameters, those first that a tensor's name is near to.
        missing: Vec<String>,
        /// The tensors, in the same order.
        unexpected: Vec<String>,
    },
    /// Two tensors for one parameter.
    #[error("{dir}: holds `{name}` twice")]
    Twice {
        /// The directory.
        dir: PathBuf,
        /// The parameter.
        name: String,
    },
    /// Tensors that the config ties hold different numbers.
    #[error(
        "{dir}: `{alias}` and `{name}` differ, though the config ties them; \
         set tie_word_embeddings to false to keep both"
    )]
    NotTied {
        /// The directory.
        dir: PathBuf,
        /// The tied name.
        alias: String,
        /// The parameter.
        name: String,
    },
    /// A tensor of another shape than the parameter.
    #[error("{dir}: tensor `{name}` has shape {found:?}, the config makes it {wanted:?}")]
    Shape {
        /// The directory.
        dir: PathBuf,
        /// The parameter.
        name: String,
        /// The file's.
        found: Vec<usize>,
        /// The model's.
        wanted: Vec<usize>,
    },
    /// A weight in a few bits that does not fit together.
    #[error("{dir}: a weight that bitsandbytes stored: {reason}")]
    Quantized {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A weight that is to be stored in a few bits and has a number that none of them is.
    #[error("{dir}: `{name}` is not finite at {place}, so that it cannot be quantized")]
    NotFinite {
        /// The directory or file.
        dir: PathBuf,
        /// The weight.
        name: String,
        /// The position.
        place: usize,
    },
    /// A tensor of numbers that cannot be trained.
    #[error("{dir}: tensor `{name}` holds {found}, expected floating-point numbers")]
    NotFloat {
        /// The directory.
        dir: PathBuf,
        /// The parameter.
        name: String,
        /// Its type.
        found: DType,
    },
    /// Tensors of several types, and no type was asked for.
    #[error("{dir}: holds {one} and, in `{name}`, {other}; say which dtype to load them as")]
    Mixed {
        /// The directory.
        dir: PathBuf,
        /// A tensor of the other type.
        name: String,
        /// A type.
        one: DType,
        /// Another.
        other: DType,
    },
    /// A file of tensors is not whole, or could not be read or written.
    #[error(transparent)]
    Storage(Box<StorageError>),
    /// The parameters cannot be changed now.
    #[error(transparent)]
    Params(Box<ParamsError>),
}

impl FilesError {
    /// Both lists begin with names that are near to each other.
    pub(super) fn names(dir: PathBuf, missing: Vec<String>, unexpected: Vec<String>) -> Self {
        let mut near = (Vec::new(), Vec::new());
        let mut rest = (missing, Vec::new());
        for name in unexpected {
            match suggest(&name, rest.0.iter().map(String::as_str)).map(str::to_owned) {
                Some(nearest) => {
                    rest.0.retain(|other| *other != nearest);
                    near.0.push(nearest);
                    near.1.push(name);
                }
                None => rest.1.push(name),
            }
        }
        let (missing, unexpected) = ([near.0, rest.0].concat(), [near.1, rest.1].concat());
        Self::Names { dir, missing, unexpected }
    }

    pub(super) fn config(path: PathBuf, source: ConfigError) -> Self {
        Self::Config { path, source: Box::new(source) }
    }
}

impl From<StorageError> for FilesError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<ParamsError> for FilesError {
    fn from(error: ParamsError) -> Self {
        Self::Params(Box::new(error))
    }
}

/// What lacks, and what is there instead.
fn apart(missing: &[String], unexpected: &[String]) -> String {
    let lacks = format!("lacks {}", listed(missing));
    let has = format!("has {}, which no parameter of the model is called", listed(unexpected));
    match (missing.is_empty(), unexpected.is_empty()) {
        (false, true) => lacks,
        (true, _) => has,
        (false, false) => format!("{lacks}; {has}"),
    }
}

/// The first few names.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    let tensors = if names.len() == 1 { "tensor" } else { "tensors" };
    format!("{tensors} {}{rest}", shown.join(", "))
}
