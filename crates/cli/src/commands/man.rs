//! `rappel man`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::CommandFactory;
use clap_mangen::Man;
use rappel_config::suggest;
use rappel_files::Destination;

use crate::args::Cli;

/// Print a manual page, or write all of them into a folder
///
/// To read one: `rappel man train | man -l -`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel man train | man -l -
  rappel man --out ~/.local/share/man/man1")]
pub struct Args {
    /// The command whose page to print. Default: that of rappel itself
    #[arg(conflicts_with = "out")]
    command: Option<String>,
    /// Write rappel.1 and a page of each command, such as rappel-train.1, into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut root = Cli::command();
    root.build();
    if let Some(folder) = &args.out {
        fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(root, folder))
            .with_context(|| format!("cannot write into {}", folder.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = match &args.command {
        None => root,
        Some(name) => {
            let known: Vec<&str> = root.get_subcommands().map(clap::Command::get_name).collect();
            let Some(command) = root.find_subcommand(name) else {
                let near = suggest(name, known.iter().copied());
                let near = near.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                bail!("no command is named `{name}`{near} (known: {})", known.join(", "));
            };
            // Built, a command calls itself by its whole name, such as rappel-train.
            let whole = command.get_display_name().unwrap_or(name).to_owned();
            command.clone().name(whole)
        }
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    Destination::stdout().write(|out| out.write_all(&text))?;
    Ok(ExitCode::SUCCESS)
}
