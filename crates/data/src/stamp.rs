//! Whether files are those that were read before, without reading them.

use std::fs::{self, Metadata};
use std::time::{Duration, SystemTime};

use rappel_files::hex;
use sha2::{Digest, Sha256};

use crate::sources::DocumentRef;

/// A file that was changed so little time before it was looked at may be changed again within the same tick of
/// the file system's clock.
const TICK: Duration = Duration::from_secs(2);

/// What the system says of a list of files: while it stays the same, so does what they hold.
#[derive(Debug)]
pub(crate) struct Stamp {
    hash: Sha256,
    settled: bool,
}

impl Stamp {
    /// That of these files; none where the system does not say enough.
    pub fn of(files: &[DocumentRef]) -> Option<Self> {
        let (mut hash, mut settled) = (Sha256::new(), true);
        for DocumentRef { name, path } in files {
            let metadata = fs::metadata(path).ok()?;
            hash.update(format!("{} {name}\n{:?}\n", name.len(), identity(&metadata)?));
            settled &= metadata.modified().ok()? + TICK < SystemTime::now();
        }
        Some(Self { hash, settled })
    }

    /// Whether the files were last changed so long ago that a change from now on shows.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// A name for what comes of these files by what `settings` says.
    pub fn key(&self, settings: &[u8]) -> String {
        hex(&self.hash.clone().chain_update(settings).finalize())
    }
}

/// Device, number, size, and when content and state were changed last: as git recognises an unchanged file.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
fn identity(metadata: &Metadata) -> Option<[i64; 7]> {
    use std::os::unix::fs::MetadataExt;
    Some([
        metadata.dev() as i64,
        metadata.ino() as i64,
        metadata.size() as i64,
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ])
}

/// Elsewhere files are read, to be sure.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<[i64; 7]> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;

    fn key(path: &Path) -> String {
        let file = DocumentRef { name: "a".to_owned(), path: path.to_owned() };
        Stamp::of(&[file]).unwrap().key(b"")
    }

    #[test]
    fn whatever_changes_a_file_changes_its_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let file = DocumentRef { name: "a".to_owned(), path: path.clone() };
        assert!(
            !Stamp::of(std::slice::from_ref(&file)).unwrap().is_settled(),
            "it was written just now"
        );
        let old = SystemTime::now() - Duration::from_secs(60);
        let set_old =
            || File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        set_old();
        assert!(Stamp::of(std::slice::from_ref(&file)).unwrap().is_settled());
        let first = key(&path);
        assert_eq!(key(&path), first);

        // As long, and as old as it says, but for the time at which that was said.
        fs::write(&path, "two").unwrap();
        set_old();
        let second = key(&path);
        assert_ne!(second, first);
        // Another file in its place.
        fs::write(folder.path().join("b"), "two").unwrap();
        fs::rename(folder.path().join("b"), &path).unwrap();
        assert_ne!(key(&path), second);
        assert!(
            Stamp::of(&[DocumentRef { name: "c".to_owned(), path: "nowhere".into() }]).is_none()
        );
    }
}
