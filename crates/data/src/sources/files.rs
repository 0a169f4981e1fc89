//! The files, folders and globs that a config names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rappel_config::{InvalidOption, Kind, OptionSet, Options};

use super::{DocumentRef, Source, SourceEntry};
use crate::corpus::Document;
use crate::walk::{portable_name, walk};
use crate::{DataError, text_file};

pub(super) const ENTRY: SourceEntry = SourceEntry {
    name: "files",
    summary: "each file is a document, each record of .jsonl and each row of .parquet one: paths, folders, globs",
    reference: "https://docs.rs/glob/0.3/glob/struct.Pattern.html",
    fields: Files::FIELDS,
    build: |options| Ok(Box::new(Files::from_options(options)?)),
};

#[derive(Debug, Options)]
#[options(check = Self::check)]
struct Files {
    /// paths, folders or globs; from a folder all files but hidden ones
    #[option(kind = Kind::Paths, changeable)]
    files: Vec<String>,
    /// the field of records of .jsonl and .ndjson, and the column of .parquet, that holds the text
    #[option(default = "text", aka("text_column", "text_column_name", "dataset_text_field"))]
    text_field: String,
}

impl Files {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.files.is_empty() {
            return Err(InvalidOption::new("files", "an empty list; name at least one file"));
        }
        Ok(())
    }
}

impl Source for Files {
    /// Names are relative to the folder that holds all the files, so a copy of the whole elsewhere
    /// has the same names.
    fn list(&self) -> Result<Vec<DocumentRef>, DataError> {
        // Keyed by the resolved path, so that a file named twice counts once.
        let mut found = BTreeMap::new();
        for pattern in &self.files {
            for path in expand(pattern)? {
                let resolved = path.canonicalize().map_err(DataError::read(&path))?;
                found.entry(resolved).or_insert(path);
            }
        }
        let common = common_folder(found.keys());
        let document = |(resolved, path): (PathBuf, PathBuf)| {
            Ok(DocumentRef { name: portable_name(&resolved, &common)?, path })
        };
        found.into_iter().map(document).collect()
    }

    fn read(&self, file: &DocumentRef, limit: u64) -> Result<Vec<Document>, DataError> {
        text_file::read(&file.path, &file.name, &self.text_field, limit)
    }
}

/// The files that one entry of `data.files` stands for: at least one.
pub(crate) fn expand(pattern: &str) -> Result<Vec<PathBuf>, DataError> {
    let fail = |reason: String| Err(DataError::NoFiles { pattern: pattern.to_owned(), reason });
    // A name that exists is that file, whatever glob characters it has.
    let literal = Path::new(pattern);
    if literal.exists() {
        let files = files_at(literal)?;
        return if files.is_empty() { fail("is a folder without files".into()) } else { Ok(files) };
    }
    if !pattern.contains(['*', '?', '[']) {
        return fail("does not exist".into());
    }
    let matches = match glob::glob(pattern) {
        Ok(matches) => matches,
        Err(error) => return fail(format!("is not a valid glob: {error}")),
    };
    let mut files = Vec::new();
    for path in matches {
        let path = path.map_err(|error| {
            let path = error.path().to_owned();
            DataError::read(path)(error.into())
        })?;
        files.extend(files_at(&path)?);
    }
    if files.is_empty() { fail("matches no file".into()) } else { Ok(files) }
}

fn files_at(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if path.is_dir() { walk(path, &|_| true) } else { Ok(vec![path.to_owned()]) }
}

/// The deepest folder that holds all the paths.
fn common_folder<'a>(mut paths: impl Iterator<Item = &'a PathBuf>) -> PathBuf {
    let first = paths.next().and_then(|path| path.parent()).unwrap_or(Path::new(""));
    paths.fold(first.to_owned(), |common, path| {
        let shared = common.components().zip(path.components()).take_while(|(a, b)| a == b);
        shared.map(|(component, _)| component).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_folder_is_never_a_file() {
        let common = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
            common_folder(paths.iter())
        };
        assert_eq!(common(&["/a/b/c.txt"]), Path::new("/a/b"));
        assert_eq!(common(&["/a/b/c.txt", "/a/b/d/e.txt"]), Path::new("/a/b"));
        assert_eq!(common(&["/a/b/c.txt", "/a/bc/e.txt"]), Path::new("/a"));
        assert_eq!(common(&["/x", "/y"]), Path::new("/"));
    }
}
