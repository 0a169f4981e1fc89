//! A file that only grows, by whole records.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rappel_files::{parent, sync_folder};

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
            Ok(file) => {
                sync_folder(parent(path))?;
                Ok(Self { path: path.to_owned(), file, len: 0 })
            }
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_its_file_and_what_to_do() {
        let mut full = LogFile::open_end(Path::new("/dev/full")).unwrap();
        assert_eq!(
            full.append(b"{}\n").unwrap_err().to_string(),
            "cannot append to /dev/full: No space left on device (os error 28); free some space on \
             that disk, then resume the run"
        );
    }
}
