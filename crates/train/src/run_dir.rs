//! The directory of a run.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rappel_files::{
    Lock, LockError, create, fresh_folder, make_folder, parent, partial, prepared, publish, remove,
    replace,
};

use crate::model_dir::merge;
use crate::{Config, Observer, TrainError};

const CONFIG: &str = "config.toml";
/// Locked by the process that trains the run; its content names that.
const LOCK: &str = ".lock";
/// Where runs are made that name no place.
const RUNS: &str = "runs";

/// Where a run keeps what it makes: `config.toml` (with every default written out), the files of the
/// sinks, `checkpoints/` and `model/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Makes the directory with its config: `out`, which must not be there or be empty, else the
    /// first free `runs/<name>-<n>`. A kill leaves either no directory, an empty one where one was, or
    /// one that can be resumed.
    ///
    /// The lock of the directory comes with it, as from [`lock`](Self::lock).
    pub(crate) fn create(
        out: Option<&Path>,
        name: &str,
        config: &Config,
        observer: &mut dyn Observer,
    ) -> Result<(Self, Option<Lock>), TrainError> {
        let dir = match out {
            None => Self::create_numbered(Path::new(RUNS), name, config)?,
            Some(out) => {
                Self::check_free(out)?;
                let dir = Self(out.to_owned());
                if out.is_dir() {
                    // Filled where it is: a mount point, a link or the current folder cannot be renamed
                    // over. Of several processes that find it empty, one gets the lock, and only that
                    // one writes; a run may even have ended since.
                    let lock = dir.lock(observer)?;
                    Self::check_free(out)?;
                    dir.put_config(config)?;
                    return Ok((dir, lock));
                }
                if !publish_config(out, config)? {
                    return Err(TrainError::RunExists { dir: dir.0 });
                }
                dir
            }
        };
        let lock = dir.lock(observer)?;
        Ok((dir, lock))
    }

    /// That of a run which writes nothing.
    pub(crate) fn nowhere() -> Self {
        Self(PathBuf::new())
    }

    /// Whether a run can be made at `out`: checked before anything that takes long.
    ///
    /// # Errors
    /// [`TrainError::RunExists`] where there is something; a link to nothing; a folder in which nothing
    /// can be made.
    pub fn check_free(out: &Path) -> Result<(), TrainError> {
        // A process that was killed before it wrote the config may have left its lock.
        let is_taken = |name: &str| !is_leftover_config(name) && name != LOCK;
        match fs::read_dir(out) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(TrainError::io("read", out))?.file_name();
                    if name.to_str().is_none_or(is_taken) {
                        return Err(TrainError::RunExists { dir: out.to_owned() });
                    }
                }
                probe(out)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(out).is_ok() {
                    return Err(TrainError::io("follow the link", out)(error));
                }
                let mut above = out.ancestors().skip(1).map(Path::new);
                let there = above.find(|path| *path == Path::new("") || path.exists());
                probe(there.unwrap_or(Path::new("")))
            }
            Err(error) => Err(TrainError::io("make a run at", out)(error)),
        }
    }

    /// As [`check_free`](Self::check_free), or whether one can be made in `runs`.
    pub(crate) fn check_place(out: Option<&Path>) -> Result<(), TrainError> {
        match out {
            Some(out) => Self::check_free(out),
            None if Path::new(RUNS).exists() => probe(Path::new(RUNS)),
            None => probe(Path::new("")),
        }
    }

    fn create_numbered(runs: &Path, name: &str, config: &Config) -> Result<Self, TrainError> {
        make_folder(runs)?;
        let mut number = 1;
        loop {
            let dir = runs.join(format!("{name}-{number}"));
            if !dir.exists() && publish_config(&dir, config)? {
                return Ok(Self(dir));
            }
            number += 1;
        }
    }

    /// Whether there is an earlier run at `dir`.
    pub(crate) fn is_at(dir: &Path) -> bool {
        dir.join(CONFIG).exists()
    }

    /// The directory of an earlier run.
    pub(crate) fn open(dir: &Path) -> Result<Self, TrainError> {
        let path = dir.join(CONFIG);
        match fs::metadata(&path) {
            Ok(_) => Ok(Self(dir.to_owned())),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(TrainError::NoRun { dir: dir.to_owned() })
            }
            Err(error) => Err(TrainError::io("read", &path)(error)),
        }
    }

    /// Takes the run for this process: no other one can train it until the lock is dropped, or the process
    /// ends in any way. None, with a note, where the file system knows no locks.
    pub(crate) fn lock(&self, observer: &mut dyn Observer) -> Result<Option<Lock>, TrainError> {
        match Lock::take(&self.0.join(LOCK)) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Held(holder)) => {
                Err(TrainError::InUse { dir: self.0.clone(), holder: holder.to_string() })
            }
            Err(LockError::Unsupported) => {
                observer.note(&format!(
                    "the file system of {} knows no locks: make sure that no other process trains this run",
                    self.0.display()
                ))?;
                Ok(None)
            }
            Err(LockError::File(error)) => Err(error.into()),
        }
    }

    /// The text of its config.
    pub(crate) fn config(&self) -> Result<String, TrainError> {
        let path = self.0.join(CONFIG);
        fs::read_to_string(&path).map_err(TrainError::io("read", &path))
    }

    /// Writes the config, in place of the one that is there.
    pub(crate) fn put_config(&self, config: &Config) -> Result<(), TrainError> {
        let text = config.to_toml();
        Ok(replace(&self.0.join(CONFIG), |out| out.write_all(text.as_bytes()))?)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Where the trained model is.
    pub fn model(&self) -> PathBuf {
        self.0.join("model")
    }

    /// Puts the model in place: `save` writes it to a folder of another name, which then takes it. In one
    /// that is there already, files are replaced one by one, and what else it holds stays; see
    /// [`merge`].
    pub(crate) fn publish_model(
        &self,
        is_newer: bool,
        observer: &mut dyn Observer,
        save: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<PathBuf, TrainError> {
        let (beside, model) = (self.0.join(".model.partial"), self.model());
        let saved = || {
            fresh_folder(&beside)?;
            save(&beside)?;
            if fs::symlink_metadata(&model).is_err() {
                return Ok(publish(&beside, &model)?);
            }
            merge(&beside, &model, is_newer, observer)
        };
        if let Err(error) = saved() {
            // The first error tells; half a model would only take room.
            let _ = remove(&beside);
            return Err(error);
        }
        Ok(model)
    }
}

/// Makes a directory that holds the config; false if something came to stand there meanwhile.
fn publish_config(dir: &Path, config: &Config) -> Result<bool, TrainError> {
    let folder = parent(dir);
    make_folder(folder)?;
    // Whoever makes a run here holds this lock, so that whatever another attempt left is a dead one's.
    // Where there are no locks, nothing is cleared.
    let alone = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
    if alone.is_ok() {
        clear_leftovers(folder);
    }
    let beside = partial(dir);
    let text = config.to_toml();
    let made = fresh_folder(&beside)
        .and_then(|()| create(&beside.join(CONFIG), |out| out.write_all(text.as_bytes())))
        .and_then(|()| publish(&beside, dir));
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.source.kind() == ErrorKind::DirectoryNotEmpty => {
            remove(&beside)?;
            Ok(false)
        }
        Err(error) => {
            // The first error tells.
            let _ = remove(&beside);
            Err(error.into())
        }
    }
}

/// Whether a file is what a kill left of a config.
fn is_leftover_config(name: &str) -> bool {
    prepared(name) == Some(CONFIG)
}

/// Removes the folders that killed runs left beside those that they were about to make: they hold a
/// config at most. What cannot be removed only takes room.
fn clear_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(prepared).is_none() {
            continue;
        }
        let Ok(mut held) = fs::read_dir(entry.path()) else { continue };
        if held.all(|held| held.is_ok_and(|held| held.file_name() == CONFIG)) {
            let _ = remove(&entry.path());
        }
    }
}

/// Whether something can be made in a folder, tried out.
fn probe(folder: &Path) -> Result<(), TrainError> {
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    let trial = partial(&folder.join("rappel"));
    let made = fs::create_dir(&trial).and_then(|()| fs::remove_dir(&trial));
    made.map_err(TrainError::io("make a run in", folder))
}
