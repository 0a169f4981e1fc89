//! Errors of files.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The system refused something on a file or a folder.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
pub struct FileError {
    /// What was tried, such as `write`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

impl FileError {
    /// Turns the system's refusal into an error that names the action and the file.
    pub fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// What to do about an error of the system, to be put after its message; empty where there is nothing
/// to say.
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull => "; free some space on that disk",
        ErrorKind::QuotaExceeded => "; your disk quota is used up: remove files, or have it raised",
        ErrorKind::PermissionDenied => "; check the permissions of the file and of its folder",
        ErrorKind::ReadOnlyFilesystem => "; the file system is read-only: make it writable",
        ErrorKind::FileTooLarge => "; raise the limit on the size of files (`ulimit -f`)",
        ErrorKind::StaleNetworkFileHandle => "; the network file system lost it: mount it again",
        _ => by_number(error.raw_os_error()),
    }
}

/// For errors that have no kind: EIO, EMFILE and ENFILE are the same numbers on all Unix systems.
fn by_number(number: Option<i32>) -> &'static str {
    match number {
        Some(5) if cfg!(unix) => "; the disk may be failing: see the system's log",
        Some(23 | 24) if cfg!(unix) => "; raise the limit on open files (`ulimit -n`)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_advice_follows_the_cause() {
        let told = |number| {
            FileError::new("write", Path::new("a"))(io::Error::from_raw_os_error(number))
                .to_string()
        };
        assert!(told(5).ends_with("(os error 5); the disk may be failing: see the system's log"));
        assert!(told(13).contains("check the permissions"));
        assert!(told(24).contains("ulimit -n"));
        assert!(told(27).contains("ulimit -f"));
        assert!(told(28).contains("free some space"));
        assert!(told(30).contains("read-only"));
        assert!(told(2).ends_with("(os error 2)"));
    }
}
