//! Files and folders that survive the death of the machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::TrainError;

/// Writes a file and waits until it is on the disk.
pub(crate) fn write_synced(path: &Path, content: &[u8]) -> Result<(), TrainError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(TrainError::io("write", path))
}

/// Waits until a file that somebody else wrote is on the disk.
pub(crate) fn sync_file(path: &Path) -> Result<(), TrainError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(TrainError::io("sync", path))
}

/// Waits until what a folder lists is on the disk.
#[cfg(unix)]
pub(crate) fn sync_folder(path: &Path) -> Result<(), TrainError> {
    sync_file(path)
}

/// Elsewhere a folder cannot be opened to be synced; a rename is then as safe as it gets.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_path: &Path) -> Result<(), TrainError> {
    Ok(())
}

/// Writes a file beside its place, waits until it is on the disk and renames it, so that what was there
/// stays until the new is whole.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = parent(path).join(format!(".{name}.{}.partial", std::process::id()));
    let written = write(&beside)
        .and_then(|()| sync_file(&beside))
        .and_then(|()| fs::rename(&beside, path).map_err(TrainError::io("rename", path)));
    if written.is_err() {
        // The first error tells; half a file would only take room.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes an empty folder at `path`, in place of whatever is left there of an earlier attempt.
pub(crate) fn fresh_folder(path: &Path) -> Result<(), TrainError> {
    remove(path)?;
    fs::create_dir_all(path).map_err(TrainError::io("create", path))
}

/// Removes a folder and what it holds, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), TrainError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(TrainError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Puts the finished folder `from` at `to`, where nothing or an empty folder stands: at any moment
/// `to` is whole or not there.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), TrainError> {
    sync_folder(from)?;
    fs::rename(from, to).map_err(TrainError::io("rename into place", to))?;
    sync_folder(parent(to))
}
