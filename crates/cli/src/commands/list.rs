//! `rappel list`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use rappel_registry::{Family, describe, list, suggest};
use rappel_train::{FIELDS, TASKS, families};

/// List what a config can name, with its options
///
/// Without KIND the kinds are listed; with NAME that entry's page is shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel list
  rappel list schedules
  rappel list optimizers adamw
  rappel list keys")]
pub struct Args {
    /// What to list: optimizers, schedules, models and so on, or `keys` for all config keys
    kind: Option<String>,
    /// The entry whose options to show
    #[arg(requires = "kind")]
    name: Option<String>,
}

/// The kind that lists the keys of a config.
const KEYS: &str = "keys";

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match (&args.kind, &args.name) {
        (None, _) => kinds(),
        (Some(kind), None) if kind == KEYS => keys(),
        (Some(kind), None) => list(family(kind)?),
        (Some(kind), Some(name)) => family(kind)?.info(name)?.to_string(),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn kinds() -> String {
    let line = |(kind, family): (String, &dyn Family)| {
        let names: Vec<_> = family.infos().iter().map(|info| info.name).collect();
        format!("{kind:11} {}\n", names.join(", "))
    };
    let lines: String = families().into_iter().map(line).collect();
    lines + &format!("{KEYS:11} all keys of a config\n")
}

/// The keys of any config, then those of each task.
fn keys() -> String {
    let own = TASKS
        .entries
        .iter()
        .map(|task| format!("\nwith task = \"{}\":\n{}", task.name, describe(task.fields)));
    let paths =
        "\nPaths are taken from the current folder; a run's config.toml keeps them in full.\n";
    describe(FIELDS) + &own.collect::<String>() + paths
}

fn family(kind: &str) -> anyhow::Result<&'static dyn Family> {
    let families = families();
    if let Some((_, family)) = families.iter().find(|(name, _)| *name == kind) {
        return Ok(*family);
    }
    let known: Vec<&str> = families.iter().map(|(name, _)| name.as_str()).chain([KEYS]).collect();
    let near = suggest(kind, known.iter().copied());
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    bail!("no kind is named `{kind}`{near} (known: {})", known.join(", "))
}
