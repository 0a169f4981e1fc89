//! Where a command writes its output.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::durable::{parent, replace};
use crate::error::FileError;

/// A place for output: standard output, a file, or something that is written straight through, such as
/// a pipe or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Stdout,
    /// What is there is written into.
    Through(PathBuf),
    /// A file that is replaced once the new one is complete.
    File(PathBuf),
}

/// Links in a row after which a path is taken for a circle, as Linux does.
const LINKS: usize = 40;

impl Destination {
    /// Standard output.
    pub fn stdout() -> Self {
        Self(Place::Stdout)
    }

    /// The place that `path` leads to. Links are followed, so that the file they lead to is replaced and
    /// not the link; what is not a regular file, and whatever `/dev/stdout` and the like stand for, is
    /// written straight through.
    ///
    /// # Errors
    /// A folder, a place in a folder that does not exist, a circle of links, the system's refusals.
    pub fn of(path: &Path) -> Result<Self, FileError> {
        let refused = FileError::new("write", path);
        resolve(path).map(Self).map_err(refused)
    }

    /// Whether the output is not a file of its own, so that nothing else may be mixed into it.
    pub fn is_stream(&self) -> bool {
        !matches!(self.0, Place::File(_))
    }

    /// Writes the output. A regular file that was there stays until the new one is complete.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn write(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), FileError> {
        match &self.0 {
            Place::File(path) => replace(path, write),
            Place::Through(path) => {
                let write = || {
                    let mut out = io::BufWriter::new(File::options().write(true).open(path)?);
                    write(&mut out)?;
                    out.flush()
                };
                write().map_err(FileError::new("write", path))
            }
            Place::Stdout => {
                let write = || {
                    let mut out = io::BufWriter::new(io::stdout().lock());
                    write(&mut out)?;
                    out.flush()
                };
                write().map_err(FileError::new("write", Path::new("standard output")))
            }
        }
    }
}

fn resolve(path: &Path) -> io::Result<Place> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        // Links below /proc lead to open files, not to names.
        if fs::canonicalize(parent(&path))?.starts_with("/proc") {
            return Ok(Place::Through(path));
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => path = parent(&path).join(fs::read_link(&path)?),
            Ok(found) if found.is_file() => return Ok(Place::File(path)),
            Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
            Ok(_) => return Ok(Place::Through(path)),
            Err(error) if error.kind() == ErrorKind::NotFound && path.file_name().is_some() => {
                return Ok(Place::File(path));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "links lead in a circle"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_and_what_they_lead_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("there")).unwrap();
        // Relative, absolute, and to a file that is not there yet.
        symlink("there/new", at("near")).unwrap();
        symlink(at("near"), at("link")).unwrap();
        for content in ["one", "two"] {
            let place = Destination::of(&at("link")).unwrap();
            assert!(!place.is_stream());
            place.write(|out| out.write_all(content.as_bytes())).unwrap();
            assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
            assert!(fs::symlink_metadata(at("near")).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(at("there/new")).unwrap(), content);
        }
    }

    #[test]
    fn devices_are_written_through() {
        let place = Destination::of(Path::new("/dev/null")).unwrap();
        assert!(place.is_stream());
        place.write(|out| out.write_all(b"x")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink(at("b"), at("a")).unwrap();
        symlink(at("a"), at("b")).unwrap();
        let told = |path: &Path| Destination::of(path).unwrap_err().to_string();
        assert!(told(&at("a")).ends_with("links lead in a circle"));
        assert!(told(folder.path()).contains("is a directory"));
        assert!(told(&at("none/x")).contains("No such file or directory"));
    }
}
