//! `rappel completions`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use rappel_files::Destination;

use crate::args::Cli;

/// Print the completions for a shell
///
/// For bash: `rappel completions bash > ~/.local/share/bash-completion/completions/rappel`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rappel", &mut script);
    Destination::stdout().write(|out| out.write_all(&script))?;
    Ok(ExitCode::SUCCESS)
}
