//! The folder of a run's model, which its users may put files of their own into.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rappel_files::{move_over, remove, sync_folder, sync_tree};

use crate::{Observer, TrainError};

/// Moves the files of `from` into `to`, which is there, each by a rename; other files stay. One that is
/// the same is left alone. Where the model `is_newer` than what is there, its files take the place of the
/// old ones; else it is the same model once more, so that a file which differs is somebody's own, and
/// kept as `NAME.old`, with a note.
pub(crate) fn merge(
    from: &Path,
    to: &Path,
    is_newer: bool,
    observer: &mut dyn Observer,
) -> Result<(), TrainError> {
    sync_tree(from)?;
    let entries = fs::read_dir(from).map_err(TrainError::io("read", from))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(TrainError::io("read", from))?;
    names.sort();
    for name in names {
        let (new, path) = (from.join(&name), to.join(&name));
        if fs::symlink_metadata(&path).is_ok() {
            if same(&new, &path).map_err(TrainError::io("read", &path))? {
                continue;
            }
            if !is_newer {
                let mut kept = path.clone().into_os_string();
                kept.push(".old");
                let kept = PathBuf::from(kept);
                move_over(&path, &kept)?;
                observer.note(&format!(
                    "{} was changed since the run wrote it; what was there is now {}",
                    path.display(),
                    kept.display()
                ))?;
            }
        }
        move_over(&new, &path)?;
    }
    sync_folder(to)?;
    Ok(remove(from)?)
}

/// Whether two files hold the same.
fn same(a: &Path, b: &Path) -> io::Result<bool> {
    const PIECE: u64 = 1 << 20;
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    loop {
        of_a.clear();
        of_b.clear();
        a.by_ref().take(PIECE).read_to_end(&mut of_a)?;
        b.by_ref().take(PIECE).read_to_end(&mut of_b)?;
        if of_a != of_b || of_a.is_empty() {
            return Ok(of_a == of_b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Notes;

    #[test]
    fn files_of_others_stay_and_changed_ones_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let fill = |folder: &Path, files: &[(&str, &str)]| {
            fs::create_dir_all(folder).unwrap();
            for (name, text) in files {
                fs::write(folder.join(name), text).unwrap();
            }
        };
        let read = |name: &str| fs::read_to_string(to.join(name)).unwrap_or_default();
        fill(&to, &[("README.md", "mine"), ("config.json", "{mine}"), ("weights", "1234")]);
        for (is_newer, kept) in [(false, "{mine}"), (true, "{mine}")] {
            let own = if is_newer { "{3}" } else { "{}" };
            fill(&from, &[("config.json", own), ("weights", "1234"), ("vocabulary", "a b")]);
            let mut notes = Notes::default();
            merge(&from, &to, is_newer, &mut notes).unwrap();
            assert_eq!(read("config.json"), own);
            assert_eq!(read("config.json.old"), kept, "only that of the user is kept");
            assert_eq!((read("README.md").as_str(), read("vocabulary").as_str()), ("mine", "a b"));
            assert_eq!(notes.0.len(), usize::from(!is_newer), "{notes:?}");
            assert!(!from.exists() && !to.join("weights.old").exists());
        }
    }
}
