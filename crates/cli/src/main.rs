#![forbid(unsafe_code)]
//! The `rappel` binary: parses the arguments, runs one command, maps what comes to an exit code.

// Both panic where their reader has gone; see `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod draw;
mod environment;
mod escape;
mod names;
mod output;
mod profiler;
mod progress;
mod report;
mod signals;

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use rappel_tensor::{device_failure, out_of_memory};

use crate::args::Cli;
use crate::escape::escaped;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(reason) = environment::check() {
        Cli::command().error(ErrorKind::ValueValidation, escaped(&reason)).exit();
    }
    match run(cli) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format_args!("error: {}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Runs the command; memory that the system refuses, and a GPU that fails, which panic, are errors like others.
fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    signals::tame().context("cannot catch signals")?;
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if out_of_memory().is_none() && device_failure().is_none() {
            report(info);
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(|| cli.run())).unwrap_or_else(|panicked| {
        match (out_of_memory(), device_failure()) {
            (Some(refused), _) => Err(refused.into()),
            (None, Some(failed)) => Err(failed.into()),
            (None, None) => panic::resume_unwind(panicked),
        }
    })
}

/// Whether the reader of our output has gone, as `head` does: it had what it wanted.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut systems = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    systems.any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The message and its causes, leaving out causes that a message contains already.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(&cause) {
            text
        } else {
            format!("{text}\n  caused by: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file");
        let error = error.context("cannot begin");
        assert_eq!(with_causes(&error), "cannot begin\n  caused by: cannot read x: no such file");
    }
}
