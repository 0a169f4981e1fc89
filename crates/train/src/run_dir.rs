//! The directory of a run.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::durable::{fresh_folder, publish, remove, write_synced};
use crate::{Config, TrainError};

const CONFIG: &str = "config.toml";

/// Where a run keeps what it makes: `config.toml` (with every default written out), the files of the
/// sinks, `checkpoints/` and `model/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Makes the directory with its config: `out`, which must not be there or be empty, else the
    /// first free `runs/<name>-<n>`. A kill leaves either no directory or one that can be resumed.
    pub(crate) fn create(
        out: Option<&Path>,
        name: &str,
        config: &Config,
    ) -> Result<Self, TrainError> {
        let Some(out) = out else { return Self::create_numbered(Path::new("runs"), name, config) };
        Self::check_free(out)?;
        if publish_config(out, config)? {
            Ok(Self(out.to_owned()))
        } else {
            Err(TrainError::RunExists { dir: out.to_owned() })
        }
    }

    /// That of a run which writes nothing.
    pub(crate) fn nowhere() -> Self {
        Self(PathBuf::new())
    }

    /// Whether a run can be made at `out`: checked before anything that takes long.
    ///
    /// # Errors
    /// [`TrainError::RunExists`] where there is something.
    pub fn check_free(out: &Path) -> Result<(), TrainError> {
        let taken = match fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => false,
                ErrorKind::NotADirectory => true,
                _ => return Err(TrainError::io("read", out)(error)),
            },
        };
        if taken { Err(TrainError::RunExists { dir: out.to_owned() }) } else { Ok(()) }
    }

    fn create_numbered(runs: &Path, name: &str, config: &Config) -> Result<Self, TrainError> {
        fs::create_dir_all(runs).map_err(TrainError::io("create", runs))?;
        let mut number = 1;
        loop {
            let dir = runs.join(format!("{name}-{number}"));
            if !dir.exists() && publish_config(&dir, config)? {
                return Ok(Self(dir));
            }
            number += 1;
        }
    }

    /// The directory of an earlier run, with its config.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Config), TrainError> {
        let path = dir.join(CONFIG);
        let text = match fs::read_to_string(&path) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Err(TrainError::NoRun { dir: dir.to_owned() });
            }
            text => text.map_err(TrainError::io("read", &path))?,
        };
        Ok((Self(dir.to_owned()), Config::parse(&text, &[])?))
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

    /// Puts the model in place: `save` writes it to a folder of another name, which then takes it.
    /// Removing an earlier one first loses nothing, for the newest checkpoint makes it again.
    pub(crate) fn publish_model(
        &self,
        save: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<PathBuf, TrainError> {
        let (beside, model) = (self.0.join(".model.partial"), self.model());
        let saved = fresh_folder(&beside)
            .and_then(|()| save(&beside))
            .and_then(|()| remove(&model))
            .and_then(|()| publish(&beside, &model));
        if let Err(error) = saved {
            // The first error tells; half a model would only take room.
            let _ = remove(&beside);
            return Err(error);
        }
        Ok(model)
    }
}

/// Makes a directory that holds the config; false if something came to stand there meanwhile.
fn publish_config(dir: &Path, config: &Config) -> Result<bool, TrainError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let beside = dir.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let made = fresh_folder(&beside)
        .and_then(|()| write_synced(&beside.join(CONFIG), config.to_toml().as_bytes()))
        .and_then(|()| publish(&beside, dir));
    match made {
        Ok(()) => Ok(true),
        Err(TrainError::Io { source, .. }) if source.kind() == ErrorKind::DirectoryNotEmpty => {
            remove(&beside)?;
            Ok(false)
        }
        Err(error) => {
            // The first error tells.
            let _ = remove(&beside);
            Err(error)
        }
    }
}
