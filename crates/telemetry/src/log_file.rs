//! A file that only grows, by whole records.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::TelemetryError;

/// An open file to which whole records are appended, unbuffered: each is the kernel's at once, so a
/// killed process loses none.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    /// A new file; [`TelemetryError::Exists`] if there is one.
    pub fn create(path: &Path) -> Result<Self, TelemetryError> {
        match OpenOptions::new().append(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, len: 0 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(TelemetryError::Exists { path: path.to_owned() })
            }
            Err(error) => Err(TelemetryError::io("create", path, error)),
        }
    }

    /// The end of a file, which is made if there is none.
    pub fn open_end(path: &Path) -> Result<Self, TelemetryError> {
        let open = || {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            let len = file.metadata()?.len();
            Ok(Self { path: path.to_owned(), file, len })
        };
        open().map_err(|error| TelemetryError::io("open", path, error))
    }

    /// Appends all of `record` or, if the system refuses, nothing.
    pub fn append(&mut self, record: &[u8]) -> Result<(), TelemetryError> {
        match self.file.write_all(record) {
            Ok(()) => {
                self.len += record.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a record would spoil the next one. If even this fails, the first error tells.
                let _ = self.file.set_len(self.len);
                Err(TelemetryError::io("append to", &self.path, error))
            }
        }
    }

    /// Waits until the file is on the disk.
    pub fn sync(&mut self) -> Result<(), TelemetryError> {
        self.file.sync_all().map_err(|error| TelemetryError::io("sync", &self.path, error))
    }
}

/// Where the new content of the file at `path` is written before it takes its place.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("partial")
}

/// Removes what a killed [`replace`] left.
pub(crate) fn remove_leftover(path: &Path) -> Result<(), TelemetryError> {
    let beside = beside(path);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(TelemetryError::io("remove", &beside, error))
        }
        _ => Ok(()),
    }
}

/// Puts `content` in place of the file at `path`, so that at any moment one of both is there whole.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), TelemetryError> {
    let beside = beside(path);
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| TelemetryError::io("write", &beside, error))?;
    std::fs::rename(&beside, path).map_err(|error| TelemetryError::io("replace", path, error))?;
    sync_folder_of(path)
}

#[cfg(unix)]
fn sync_folder_of(path: &Path) -> Result<(), TelemetryError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| TelemetryError::io("sync", folder, error))
}

/// Elsewhere a folder cannot be opened to be synced; the rename is then as safe as it gets.
#[cfg(not(unix))]
fn sync_folder_of(_path: &Path) -> Result<(), TelemetryError> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_its_file_and_what_to_do() {
        let mut full = LogFile::open_end(Path::new("/dev/full")).unwrap();
        assert_eq!(
            full.append(b"{}\n").unwrap_err().to_string(),
            "cannot append to /dev/full: No space left on device (os error 28); free some space, \
             then resume the run"
        );
    }
}
