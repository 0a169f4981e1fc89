//! `rappel schedule`.

use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use rappel_train::{ScheduledValue, Varied};

use crate::draw::{self, Axis, Curve, PALETTE, Picture, terminal};
use crate::names::{self, Names};
use crate::output::say;

/// The longest run whose every step is looked at: some seconds.
const MOST_STEPS: u64 = 10_000_000;

/// Draw a config's schedules: the learning rate and every other scheduled value, by step
///
/// Only the section `optimizer` is required; `schedule` and `train.steps` are used as well. With several
/// parameter groups, the values that each group sets are drawn too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel schedule configs/quickstart.toml
  rappel schedule configs/quickstart.toml --set schedule.name=rex --steps 2000
  rappel schedule configs/quickstart.toml --csv > schedule.csv
  rappel schedule configs/quickstart.toml --png schedule.png")]
pub struct Args {
    /// A TOML file with a section `optimizer`
    config: PathBuf,
    /// Steps of the run. Default: the config's train.steps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Print step,lr,... for every step, with 17 digits
    #[arg(long)]
    csv: bool,
    /// Draw into a file instead: .png or .svg
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    png: Option<PathBuf>,
    /// Set a config key, such as schedule.warmup_steps=100; can be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", hide_possible_values = true, value_parser = Names(names::settings))]
    settings: Vec<String>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.png.as_deref().map_or(Ok(()), |path| draw::kind(path).map(|_| ()))?;
    let config = std::fs::read_to_string(&args.config)
        .with_context(|| format!("cannot read the config {}", args.config.display()))?;
    let settings: Vec<&str> = args.settings.iter().map(String::as_str).collect();
    let Varied { steps, values, followed, notes } =
        rappel_train::scheduled(&config, &settings, args.steps)
            .with_context(|| args.config.display().to_string())?;
    ensure!(
        steps <= MOST_STEPS,
        "train.steps = {steps}: every step is looked at, of at most {MOST_STEPS}; give a shorter run as --steps"
    );
    for note in notes {
        say(format_args!("note: {note}"));
    }
    if !followed.is_empty() {
        let names = followed.join(" and ");
        say(format_args!(
            "note: learning rates also follow the validations, by {names}, which no picture can foresee"
        ));
    }
    if let Some(path) = &args.png {
        draw::save(&picture(steps, &values), path)?;
        return Ok(ExitCode::SUCCESS);
    }
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
            let drawn = terminal::draw(steps, |step| value.curve.at(step));
            write!(out, "{gap}{}: {drawn}", value.name)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

const WIDTH: usize = 860;
/// Of each value's part.
const HEIGHT: usize = 250;

/// A part for each value, one below the other.
fn picture(steps: u64, values: &[ScheduledValue]) -> Picture {
    let mut picture = Picture::new(WIDTH, HEIGHT * values.len());
    for (i, value) in values.iter().enumerate() {
        let points = draw::sampled(steps, WIDTH as u64, |step| value.curve.at(step));
        let x = Axis::around("step", false, points.iter().map(|[x, _]| *x));
        let y = Axis::around("", false, points.iter().map(|[_, y]| *y));
        let curve = Curve { name: String::new(), points, color: PALETTE[i % PALETTE.len()] };
        let place = [(i * HEIGHT) as f64, HEIGHT as f64];
        draw::plot(&mut picture, place, &value.name, [x, y], &[curve]);
    }
    picture
}
