//! What can go wrong while a run is recorded.

use std::io;
use std::path::{Path, PathBuf};

use rappel_config::ConfigError;
use rappel_files::{FileError, advice};
use thiserror::Error;

/// What went wrong while opening or writing a sink.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The system refused; the file holds the events logged before, whole.
    #[error("cannot {action} {}: {source}{}", path.display(), mend(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A fresh run where another has logged already.
    #[error("{} holds another run's events; give another directory, or resume that run", path.display())]
    Exists {
        /// The file found.
        path: PathBuf,
    },
    /// A record that cannot be continued because it cannot be read.
    #[error("{}, line {line}: {reason}; mend the line, or move the file away", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A scalar's name that a sink cannot tell from its own keys.
    #[error("a scalar cannot be named `{name}`: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// What the config says of sinks cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl TelemetryError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

impl From<FileError> for TelemetryError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Self::Io { action, path, source }
    }
}

/// What to do about the system's refusal, where there is something.
fn mend(error: &io::Error) -> String {
    match advice(error) {
        "" => String::new(),
        advice => format!("{advice}, then resume the run"),
    }
}
