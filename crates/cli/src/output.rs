//! Standard output and standard error.
//!
//! What a command is run for goes to standard output, and a refusal there is an error. Everything else
//! goes to standard error, and what cannot be written there is dropped: a reader that goes away, or a
//! full disk under a log, is no reason to end a run.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use rappel_files::{Destination, FileError};
use rappel_train::TrainError;

use crate::escape::escaped;

/// Prints what a command was run for.
pub fn print(text: &str) -> Result<(), FileError> {
    Destination::stdout().write(|out| out.write_all(text.as_bytes()))
}

/// Writes a line to standard error, if that can be, with control characters written out.
pub fn say(line: impl Display) {
    // In one piece, so that lines of several processes do not mix.
    let _ = io::stderr().write_all(format!("{}\n", escaped(&line.to_string())).as_bytes());
}

/// A writer to standard error that drops what is refused.
pub struct Lossy;

impl Write for Lossy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error of a model, which it names where the model is of the wrong kind.
pub fn in_model(model: &Path, error: TrainError) -> anyhow::Error {
    let kind = matches!(error, TrainError::Kind { .. });
    let error = anyhow::Error::from(error);
    if kind { error.context(model.display().to_string()) } else { error }
}

/// The place that an argument means: `-` is standard output.
pub fn destination(path: &Path) -> Result<Destination, FileError> {
    if path == Path::new("-") { Ok(Destination::stdout()) } else { Destination::of(path) }
}

/// Reports what was written to a destination: on standard output, unless the output may be there.
pub fn report(written: &Destination, line: &str) -> Result<(), FileError> {
    if written.is_stream() {
        say(line);
        return Ok(());
    }
    print(&format!("{line}\n"))
}
