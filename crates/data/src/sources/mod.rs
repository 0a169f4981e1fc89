//! Where text comes from: one file and one line here each.

mod cargo;
pub(crate) mod files;

use std::path::PathBuf;

use rappel_config::{ConfigError, Entry, OptionSet, Options, Registry, no_more};

use crate::DataError;
use crate::corpus::Document;
use crate::text_file::read_text;

/// One file of a source, before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRef {
    /// The same on every machine that has the same corpus; the order of documents depends on it.
    pub name: String,
    /// Where this machine has it.
    pub path: PathBuf,
}

/// A place that text comes from.
pub trait Source: std::fmt::Debug + Send + Sync {
    /// Its files, each name once.
    ///
    /// # Errors
    /// What the source needs and does not find.
    fn list(&self) -> Result<Vec<DocumentRef>, DataError>;

    /// The documents of one file, of at most `limit` bytes of text; little more than these is read.
    ///
    /// # Errors
    /// [`DataError::Read`] naming the file, [`DataError::Binary`].
    fn read(&self, file: &DocumentRef, limit: u64) -> Result<Vec<Document>, DataError> {
        let bytes = read_text(&file.path, limit)?;
        Ok(vec![Document { name: file.name.clone(), bytes }])
    }
}

/// Builds a source from its options.
pub type BuildSource = fn(&Options) -> Result<Box<dyn Source>, ConfigError>;

/// Every source; the options common to all of them are those of the section `data`.
pub static SOURCES: Registry<BuildSource> = Registry {
    kind: "source",
    common: crate::TextOptions::FIELDS,
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
        rappel_testkit::assert_folder_matches(&folder, &SOURCES.names());
        rappel_testkit::assert_sound(&SOURCES);
    }
}
