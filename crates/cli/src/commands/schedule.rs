//! `rappel schedule`.

use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::chart;

/// Draw what a config varies over the steps: learning rates and all that follows a schedule
///
/// Of the config only the section `optimizer` must be there; `schedule` and `train.steps` are taken from it
/// too. With several groups of parameters, each value that a group sets itself is drawn.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel schedule configs/quickstart.toml
  rappel schedule configs/quickstart.toml --set schedule.name=rex --steps 2000
  rappel schedule configs/quickstart.toml --csv > schedule.csv")]
pub struct Args {
    /// A TOML file with a section `optimizer`
    config: PathBuf,
    /// Steps of the run. Unset: the config's train.steps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Print step,lr,... for every step, with 17 digits
    #[arg(long)]
    csv: bool,
    /// Set a key of the config, such as schedule.warmup_steps=100; can be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = std::fs::read_to_string(&args.config)
        .with_context(|| format!("cannot read the config {}", args.config.display()))?;
    let settings: Vec<&str> = args.settings.iter().map(String::as_str).collect();
    let (steps, values) = rappel_train::scheduled(&config, &settings, args.steps)
        .with_context(|| args.config.display().to_string())?;
    let mut out = BufWriter::new(stdout().lock());
    if args.csv {
        let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
        writeln!(out, "step,{}", names.join(","))?;
        for step in 0..steps {
            write!(out, "{step}")?;
            for value in &values {
                write!(out, ",{:.16e}", value.curve.at(step))?;
            }
            writeln!(out)?;
        }
    } else {
        for (i, value) in values.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n" };
            let drawn = chart::draw(steps, |step| value.curve.at(step));
            write!(out, "{gap}{}: {drawn}", value.name)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
