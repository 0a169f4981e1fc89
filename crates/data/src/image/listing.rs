//! Where images and their classes are.

use std::path::{Path, PathBuf};

use super::decode::ENDINGS;
use super::idx::{Idx, in_folder, labels_of};
#[cfg(feature = "tables")]
use super::parquet;
use crate::DataError;

/// Images that were found, not yet read.
#[derive(Debug)]
pub(super) enum Listing {
    /// Two idx files.
    Idx { images: PathBuf, labels: Option<PathBuf> },
    /// A Parquet file with images in it.
    #[cfg(feature = "tables")]
    Parquet(PathBuf),
    /// Files, each with the name of its class where that is known.
    Files(Vec<(PathBuf, Option<String>)>),
}

/// Columns of a CSV that names images.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a> {
    pub path: &'a str,
    pub label: &'a str,
}

impl Listing {
    /// What is at a path: an idx file, a folder of them, a CSV, or a folder with a folder of images for each class; where
    /// classes are not `wanted`, a folder of images in any folders.
    ///
    /// # Errors
    /// A folder or CSV without images, a class that is missing.
    pub fn of(path: &Path, columns: Columns<'_>, wanted: bool) -> Result<Self, DataError> {
        let idx = |images: PathBuf| {
            let labels = labels_of(&images);
            if wanted && labels.is_none() {
                let reason =
                    "has no file of labels beside it, named like it with `labels` and `idx1`";
                return Err(DataError::Image { path: images, reason: reason.to_owned() });
            }
            Ok(Self::Idx { images, labels })
        };
        if Idx::is_named(path) {
            return idx(path.to_owned());
        }
        if path.is_dir() {
            return match in_folder(path) {
                [Some(train), _] => idx(train),
                [None, Some(test)] => idx(test),
                _ => Ok(Self::Files(folder(path, wanted)?)),
            };
        }
        #[cfg(feature = "tables")]
        if parquet::is_named(path) && path.exists() {
            return Ok(Self::Parquet(path.to_owned()));
        }
        if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) {
            return Ok(Self::Files(csv(path, columns, wanted)?));
        }
        if !wanted && is_image(path) {
            return Ok(Self::Files(vec![(path.to_owned(), None)]));
        }
        let reason = "expected an idx file, a .csv, a .parquet or a folder of images".to_owned();
        if path.exists() {
            return Err(DataError::Image { path: path.to_owned(), reason });
        }
        let source = std::io::ErrorKind::NotFound.into();
        Err(DataError::Read { path: path.to_owned(), source })
    }
}

/// The images to test on of a folder with MNIST's names.
pub(super) fn tests_in(path: &Path) -> Option<PathBuf> {
    match in_folder(path) {
        [Some(_), test] => test,
        _ => None,
    }
}

fn is_image(path: &Path) -> bool {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|known| end.eq_ignore_ascii_case(known))
}

/// The images of a folder, sorted by path; the class is the first folder's name.
fn folder(path: &Path, wanted: bool) -> Result<Vec<(PathBuf, Option<String>)>, DataError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DataError::Read { path, source }
    };
    let (mut files, mut left) = (Vec::new(), vec![path.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).map_err(io(&dir))? {
            let entry = entry.map_err(io(&dir))?.path();
            let hidden =
                entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            if entry.is_dir() {
                left.push(entry);
            } else if is_image(&entry) {
                files.push(entry);
            }
        }
    }
    files.sort();
    let bad = |reason: String| DataError::Image { path: path.to_owned(), reason };
    if files.is_empty() {
        return Err(bad(format!("no images (.{})", ENDINGS.join(", ."))));
    }
    let class = |file: PathBuf| {
        let within = file.strip_prefix(path).unwrap_or(&file);
        let mut parts = within.components();
        let first = parts.next().map(|part| part.as_os_str().to_string_lossy().into_owned());
        match (first.filter(|_| parts.next().is_some()), wanted) {
            (class, false) => Ok((file, class)),
            (Some(class), true) => Ok((file, Some(class))),
            (None, true) => {
                let reason = "stands in no class's folder: expected FOLDER/CLASS/IMAGE".to_owned();
                Err(DataError::Image { path: file, reason })
            }
        }
    };
    files.into_iter().map(class).collect()
}

/// The images that a CSV names, relative to its folder.
fn csv(
    path: &Path,
    columns: Columns<'_>,
    wanted: bool,
) -> Result<Vec<(PathBuf, Option<String>)>, DataError> {
    let bad = |reason: String| DataError::Image { path: path.to_owned(), reason };
    let mut reader = csv::Reader::from_path(path).map_err(|error| bad(error.to_string()))?;
    let head = reader.headers().map_err(|error| bad(error.to_string()))?.clone();
    let column = |name: &str| {
        let known = || head.iter().collect::<Vec<_>>().join(", ");
        head.iter()
            .position(|column| column == name)
            .ok_or_else(|| bad(format!("no column `{name}` (columns: {})", known())))
    };
    let at = column(columns.path)?;
    let class = if wanted { Some(column(columns.label)?) } else { None };
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| bad(error.to_string()))?;
        let name = |at: usize| record.get(at).unwrap_or_default().trim().to_owned();
        let label = class.map(name);
        if label.as_deref() == Some("") {
            let line = record.position().map_or(0, csv::Position::line);
            return Err(bad(format!("line {line}: no `{}`", columns.label)));
        }
        found.push((dir.join(name(at)), label));
    }
    if found.is_empty() {
        return Err(bad("names no images".to_owned()));
    }
    Ok(found)
}
