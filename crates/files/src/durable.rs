//! Files and folders that survive a crash or a power failure.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::FileError;
use crate::stream::Stream;

/// Writes a new file at `path`, for a folder that [`publish`] will sync and put in place.
///
/// # Errors
/// The system's refusals, and a file that is there already.
pub fn create(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let write = || {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        write_to(path, file, write).map(drop)
    };
    write().map_err(FileError::new("write", path))
}

/// Writes a file beside its place, syncs it and renames it, so that what was there stays until the new
/// file is complete. A file that was there passes its permissions on.
///
/// # Errors
/// The system's refusals; then what was there is as it was.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let beside = partial(path);
    remove(&beside)?;
    let written = || {
        let file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
        if let Ok(old) = fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        write_to(&beside, file, write)?.sync_all()
    };
    let done = written()
        .map_err(FileError::new("write", path))
        .and_then(|()| move_over(&beside, path))
        .and_then(|()| sync_folder(parent(path)));
    if done.is_err() {
        // The first error is reported; half a file would only take room.
        let _ = fs::remove_file(&beside);
    }
    done
}

fn write_to(
    path: &Path,
    file: File,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<File> {
    let mut out = Stream::new(path, file);
    write(&mut out)?;
    out.finish()
}

/// The name beside `path` under which this process makes the file or folder before it takes its place.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.partial", std::process::id()));
    parent(path).join(name)
}

/// The name that a hidden name of [`partial`] prepares.
pub fn prepared(name: &str) -> Option<&str> {
    let (name, process) = name.strip_prefix('.')?.strip_suffix(".partial")?.rsplit_once('.')?;
    process.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
}

/// Removes what killed calls of [`replace`] left of the file at `path`; for whoever knows that no other
/// process is writing it.
///
/// # Errors
/// The system's refusals.
pub fn clear_leftovers(path: &Path) -> Result<(), FileError> {
    let folder = parent(path);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(FileError::new("read", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(FileError::new("read", folder))?;
        let name = entry.file_name();
        if name.to_str().and_then(prepared).is_some_and(|name| path.ends_with(name)) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Puts the finished folder `from` at `to`, where nothing or an empty folder is: every file in it is
/// synced first, so that at any moment `to` is complete or not there.
///
/// # Errors
/// The system's refusals, [`ErrorKind::DirectoryNotEmpty`] among them.
pub fn publish(from: &Path, to: &Path) -> Result<(), FileError> {
    sync_tree(from)?;
    move_over(from, to)?;
    sync_folder(parent(to))
}

/// Renames `from` to `to`, without syncing.
///
/// # Errors
/// The system's refusals.
pub fn move_over(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::new("rename into place", to))
}

/// Syncs all that a folder holds, then the folder.
///
/// # Errors
/// The system's refusals.
pub fn sync_tree(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::new("read", folder))? {
        let entry = entry.map_err(FileError::new("read", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(FileError::new("read", &path))?;
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            sync(&path)?;
        }
    }
    sync_folder(folder)
}

fn sync(path: &Path) -> Result<(), FileError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(FileError::new("sync", path))
}

/// Syncs the list of what a folder holds.
///
/// # Errors
/// The system's refusals.
#[cfg(unix)]
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    match sync(path) {
        // Some file systems cannot sync a folder; a rename is then as safe as it gets.
        Err(error) if matches!(error.source.kind(), ErrorKind::InvalidInput) => Ok(()),
        synced => synced,
    }
}

/// Elsewhere a folder cannot be opened to be synced; a rename is then as safe as it gets.
#[cfg(not(unix))]
pub fn sync_folder(_path: &Path) -> Result<(), FileError> {
    Ok(())
}

/// The folder that holds `path`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes an empty folder at `path`, in place of what an earlier attempt left there, and the folders
/// above it.
///
/// # Errors
/// The system's refusals.
pub fn fresh_folder(path: &Path) -> Result<(), FileError> {
    remove(path)?;
    make_folder(path)
}

/// Makes a folder and those above it, where they are missing, each synced into the one that holds it.
///
/// # Errors
/// The system's refusals.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    match fs::create_dir(path) {
        Ok(()) => sync_folder(parent(path)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound && parent(path) != path => {
            make_folder(parent(path))?;
            fs::create_dir(path).map_err(FileError::new("create", path))?;
            sync_folder(parent(path))
        }
        Err(error) => Err(FileError::new("create", path)(error)),
    }
}

/// Removes a file, or a folder and what it holds, if it is there.
///
/// # Errors
/// The system's refusals.
pub fn remove(path: &Path) -> Result<(), FileError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(FileError::new("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_write_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        replace(&path, |out| out.write_all(b"old")).unwrap();
        let refuse = |out: &mut dyn Write| {
            out.write_all(b"half of the new")?;
            Err(io::Error::from(ErrorKind::StorageFull))
        };
        let told = replace(&path, refuse).unwrap_err().to_string();
        assert!(told.starts_with("cannot write ") && told.contains("a.txt"), "{told}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left");
        replace(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_passes_its_permissions_on() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::write(folder.path().join("plain"), "").unwrap();
        replace(&path, |_| Ok(())).unwrap();
        assert_eq!(mode(&path), mode(&folder.path().join("plain")));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, |_| Ok(())).unwrap();
        assert_eq!(mode(&path), 0o640);
    }

    #[test]
    fn a_folder_is_published_once() {
        let folder = tempfile::tempdir().unwrap();
        let [beside, place] = ["beside", "a/b/place"].map(|name| folder.path().join(name));
        fresh_folder(parent(&place)).unwrap();
        for _ in 0..2 {
            fresh_folder(&beside).unwrap();
            create(&beside.join("x"), |out| out.write_all(b"x")).unwrap();
            create(&beside.join("x"), |_| Ok(())).unwrap_err();
        }
        publish(&beside, &place).unwrap();
        assert_eq!(fs::read(place.join("x")).unwrap(), b"x");
        fresh_folder(&beside).unwrap();
        let error = publish(&beside, &place).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::DirectoryNotEmpty);
    }
}
