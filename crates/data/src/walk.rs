//! Folders, in an order that every machine shares.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::DataError;

/// The files below a folder that `keep` takes, sorted; hidden files and folders are passed over.
pub(crate) fn walk(folder: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let listing = std::fs::read_dir(&folder).map_err(DataError::read(&folder))?;
        for entry in listing {
            let entry = entry.map_err(DataError::read(&folder))?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let kind = entry.file_type().map_err(DataError::read(&path))?;
            // A link to a folder may lead back up, so links are followed to files only.
            if kind.is_dir() {
                folders.push(path);
            } else if path.is_file() && keep(&path) {
                files.push(path);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The path of `path` from `folder` on, with `/` between its parts, as every machine writes it here.
///
/// # Errors
/// A name that is not UTF-8: the name of a document decides where it goes, so it is not repaired.
pub(crate) fn portable_name(path: &Path, folder: &Path) -> Result<String, DataError> {
    let parts = path.strip_prefix(folder).unwrap_or(path).iter().map(|part| part.to_str());
    let parts: Option<Vec<_>> = parts.collect();
    let reason = || io::Error::new(ErrorKind::InvalidData, "its name is not UTF-8; rename it");
    parts.map(|parts| parts.join("/")).ok_or_else(|| DataError::read(path)(reason()))
}
