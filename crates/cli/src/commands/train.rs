//! `rappel train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use rappel_train::{Config, Ended, Run};
use serde_json::json;

use crate::names::{self, Names};
use crate::output::{print, say};
use crate::progress::Progress;
use crate::report;
use crate::signals::Signals;

/// Train a model from a config, or resume a stopped run
///
/// Progress goes to standard error, the result to standard output. On SIGINT, SIGTERM or SIGHUP the run
/// finishes its step, saves a checkpoint and prints how to resume; a second SIGINT or SIGTERM exits at once.
/// Under `nohup` SIGHUP is ignored.
///
/// Paths in a config and in --set are relative to the current folder, wherever the config is; the run's own
/// config.toml stores absolute paths, so that it can be resumed from anywhere. If data has moved, give its new
/// path: --resume DIR --set data.files=...
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel train configs/quickstart.toml
  rappel train configs/quickstart.toml --set train.steps=100 --set optimizer.lr=1e-3
  rappel train --resume runs/quickstart-1
  rappel train --resume runs/quickstart-1 --set checkpoint.every=100
  rappel train configs/quickstart.toml --from runs/quickstart-1/checkpoints/step-300 --set train.steps=400")]
pub struct Args {
    /// The config, a TOML file; `rappel list keys` shows what it can hold
    #[arg(required_unless_present = "resume", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Set a config key, such as optimizer.lr=1e-3, or unset it, as in average=; can be repeated. With --resume
    /// only keys that do not change the run's numbers: paths of moved data, how often the run logs and saves,
    /// and train.steps where the schedule allows
    #[arg(long = "set", value_name = "KEY=VALUE", hide_possible_values = true, value_parser = Names(names::settings))]
    settings: Vec<String>,
    /// Directory of the run, new or empty. Default: the next free `runs/<config name>-<n>`
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Start a new run from another run's newest checkpoint, or from the checkpoint given: its parameters,
    /// optimizer state and step, with the config given here
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// Resume the run in this directory from its newest complete checkpoint
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Start even if the memory estimated before the first step may not suffice
    #[arg(long)]
    force: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Print where a step's time went, operation by operation, compared with the best this machine can do
    #[arg(long)]
    profile: bool,
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let signals = Signals::catch().context("cannot catch signals")?;
    let mut progress = Progress::new(&signals, args.profile, quiet).forcing(args.force);
    let mut run = match (&args.resume, &args.config) {
        (Some(dir), _) => {
            let settings: Vec<&str> = args.settings.iter().map(String::as_str).collect();
            Run::resume(dir, &settings, &mut progress)
        }
        (None, config) => {
            let path = config.as_deref().unwrap_or(Path::new(""));
            let config = read(path, args, &mut progress)?;
            Run::create(&config, name(path), &mut progress)
        }
    }?;
    let since = Instant::now();
    let ended = run.train(&mut progress);
    let seconds = since.elapsed();
    progress.finish();
    let ended = ended?;
    if let Some(table) = progress.profile() {
        say(table.trim_end());
    }
    report(&ended, progress.prepared(), seconds, args.json)?;
    Ok(match ended {
        Ended::Finished(_) => ExitCode::SUCCESS,
        Ended::Stopped { .. } => signals.exit_code(),
    })
}

fn read(path: &Path, args: &Args, progress: &mut Progress) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the config {}", path.display()))?;
    let mut settings: Vec<String> = args.settings.clone();
    let paths = [("out", &args.out), ("from", &args.from)];
    for (key, path) in paths.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))) {
        // As a TOML text, for a path may look like anything.
        settings.push(format!("{key}={}", toml::Value::from(path.to_string_lossy().into_owned())));
    }
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Config::parse_noting(&text, &settings, progress).with_context(|| path.display().to_string())
}

/// What runs of a config are called.
pub(super) fn name(config: &Path) -> &str {
    config.file_stem().and_then(|stem| stem.to_str()).unwrap_or("run")
}

fn report(
    ended: &Ended,
    prepared: Duration,
    seconds: Duration,
    as_json: bool,
) -> anyhow::Result<()> {
    let text = match (ended, as_json) {
        (Ended::Stopped { step, dir }, _) => {
            let place = quoted(&dir.display().to_string());
            say(format_args!(
                "stopped after step {step}; resume with: rappel train --resume {place}"
            ));
            if as_json {
                // A reader that the same signal ended is no reason for another exit code.
                let _ = print(&format!("{}\n", json!({ "stopped_after_step": step, "out": dir })));
            }
            return Ok(());
        }
        (Ended::Finished(report), true) => report::json(report, prepared, seconds) + "\n",
        (Ended::Finished(report), false) => report::text(report, prepared, seconds),
    };
    Ok(print(&text)?)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_change_is_quoted() {
        assert_eq!(quoted("runs/a-1"), "runs/a-1");
        assert_eq!(quoted("my runs/it's"), r"'my runs/it'\''s'");
    }
}
