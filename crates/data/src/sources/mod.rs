//! Where text comes from: one file and one line here each.

mod cargo;
mod files;

use std::path::PathBuf;

use rappel_registry::{ConfigError, Entry, Options, Registry, no_more};

use crate::DataError;

/// One document of a source, before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRef {
    /// The same on every machine that has the same corpus; the order of documents hangs on it.
    pub name: String,
    /// Where this machine has it.
    pub path: PathBuf,
}

/// A place that text comes from.
pub trait Source: std::fmt::Debug + Send + Sync {
    /// Its documents, each name once.
    ///
    /// # Errors
    /// What the source needs and does not find.
    fn list(&self) -> Result<Vec<DocumentRef>, DataError>;

    /// The bytes of one document.
    ///
    /// # Errors
    /// [`DataError::Read`] naming the file.
    fn read(&self, document: &DocumentRef) -> Result<Vec<u8>, DataError> {
        std::fs::read(&document.path).map_err(DataError::read(&document.path))
    }
}

/// Builds a source from its options.
pub type BuildSource = fn(&Options) -> Result<Box<dyn Source>, ConfigError>;

/// Every source; the options common to all of them are those of the section `data`.
pub static SOURCES: Registry<BuildSource> = Registry {
    kind: "source",
    common: crate::config::COMMON,
    entries: &[
        files::ENTRY, //
        cargo::ENTRY,
    ],
    more: no_more,
};

type SourceEntry = Entry<BuildSource>;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn folder_and_registry_agree() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sources");
        rappel_registry::assert_folder_matches(&folder, &SOURCES.names());
        rappel_registry::assert_sound(&SOURCES);
    }
}
