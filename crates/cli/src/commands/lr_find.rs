//! `rappel lr-find`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use rappel_files::replace;
use rappel_train::{Config, LrFind, LrFound, RunDir, Trial, lr_find};
use serde_json::json;

use super::train::name;
use crate::draw::{self, Axis, Curve, PALETTE, Picture, terminal};
use crate::names::{self, Names};
use crate::output::print;
use crate::progress::Progress;
use crate::signals::Signals;

/// Find a learning rate: a range test, then short runs around the value it suggests
///
/// The range test increases the learning rate at each step until the loss diverges. It is unreliable for
/// transformers, so the suggestion comes from a sweep: short runs with the config's schedule, seed and data,
/// whose learning rates are half a decade apart. The results are written to a folder: lr_find.json, range.csv,
/// sweep.csv and lr_find.png.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel lr-find configs/quickstart.toml
  rappel lr-find configs/quickstart.toml --runs 3 --run-steps 50 --json")]
pub struct Args {
    /// The config, a TOML file
    config: PathBuf,
    /// First learning rate of the range test
    #[arg(long, value_name = "LR", default_value_t = 1e-6)]
    from: f64,
    /// Last learning rate of the range test
    #[arg(long, value_name = "LR", default_value_t = 1.0)]
    to: f64,
    /// Steps of the range test
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(20..))]
    steps: u64,
    /// Runs of the sweep; up to 4 are added where the best is the first or the last
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=99))]
    runs: u64,
    /// Steps of each run, at most those of the config
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    run_steps: u64,
    /// Folder for the results, new or empty. Default: the next free `runs/<config name>-lr-find-<n>`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Set a config key, such as schedule.name=cosine; can be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", hide_possible_values = true, value_parser = Names(names::settings))]
    settings: Vec<String>,
    /// Start even if the memory estimated before the first step may not suffice
    #[arg(long)]
    force: bool,
    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let plan = plan(args)?;
    args.out.as_deref().map_or(Ok(()), RunDir::check_free)?;
    let text = fs::read_to_string(&args.config)
        .with_context(|| format!("cannot read the config {}", args.config.display()))?;
    let settings: Vec<&str> = args.settings.iter().map(String::as_str).collect();
    let signals = Signals::catch().context("cannot catch signals")?;
    let mut progress = Progress::new(&signals, false, quiet).forcing(args.force);
    let config = Config::parse_noting(&text, &settings, &mut progress)
        .with_context(|| args.config.display().to_string())?;
    let found = lr_find(&config, &plan, &mut progress);
    progress.finish();
    let Some(found) = found? else { return Ok(signals.exit_code()) };
    let folder = folder(args)?;
    write(&folder, &found)?;
    let told = if args.json {
        json(&found, Some(&folder)) + "\n"
    } else {
        told(&found) + &format!("written     {}\n", folder.display())
    };
    print(&told)?;
    Ok(ExitCode::SUCCESS)
}

fn plan(args: &Args) -> anyhow::Result<LrFind> {
    let Args { from, to, .. } = *args;
    if !(0.0 < from && from < to && to.is_finite()) {
        bail!("--from {from} --to {to}: the range must rise from above 0");
    }
    Ok(LrFind {
        range: [from, to],
        range_steps: args.steps,
        runs: args.runs as usize,
        run_steps: args.run_steps,
    })
}

/// Makes the folder of what was found.
fn folder(args: &Args) -> anyhow::Result<PathBuf> {
    let made = |path: &Path| fs::create_dir_all(path);
    let cannot = |path: &Path| format!("cannot create {}", path.display());
    if let Some(out) = &args.out {
        made(out).with_context(|| cannot(out))?;
        return Ok(out.clone());
    }
    let runs = Path::new("runs");
    made(runs).with_context(|| cannot(runs))?;
    for number in 1.. {
        let path = runs.join(format!("{}-lr-find-{number}", name(&args.config)));
        match fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => return created.map(|()| path.clone()).with_context(|| cannot(&path)),
        }
    }
    unreachable!("numbers do not end")
}

fn write(folder: &Path, found: &LrFound) -> anyhow::Result<()> {
    let save = |name: &str, text: String| {
        replace(&folder.join(name), |out| out.write_all(text.as_bytes()))
    };
    save("lr_find.json", json(found, None) + "\n")?;
    let rows = found
        .range
        .iter()
        .map(|point| format!("{:.16e},{:.16e},{:.16e}\n", point.lr, point.loss, point.smoothed));
    save("range.csv", "lr,loss,smoothed\n".to_owned() + &rows.collect::<String>())?;
    let rows = found.sweep.iter().map(|trial| {
        let loss = trial.loss.map_or("diverged".to_owned(), |loss| format!("{loss:.16e}"));
        format!("{:e},{loss}\n", trial.lr)
    });
    let head = format!("lr,{}\n", found.measure.replace(' ', "_"));
    save("sweep.csv", head + &rows.collect::<String>())?;
    draw::save(&picture(found), &folder.join("lr_find.png"))
}

fn json(found: &LrFound, out: Option<&Path>) -> String {
    let LrFound { steepest, lowest, diverged, measure, suggestion, reason, .. } = found;
    let range = found.range.iter();
    let range: Vec<_> = range
        .map(|point| json!({ "lr": point.lr, "loss": point.loss, "smoothed": point.smoothed }))
        .collect();
    let sweep = found.sweep.iter();
    let sweep: Vec<_> = sweep
        .map(|trial| json!({ "lr": trial.lr, "loss": trial.loss, "losses": trial.losses }))
        .collect();
    let mut object = json!({
        "suggestion": suggestion,
        "reason": reason,
        "measure": measure,
        "sweep": sweep,
        "range": range,
        "range_steepest": steepest,
        "range_lowest": lowest,
        "range_diverged": diverged,
    });
    if let Some(out) = out {
        object["out"] = json!(out);
    }
    object.to_string()
}

/// Lines and charts for eyes.
fn told(found: &LrFound) -> String {
    let LrFound { range, sweep, measure, suggestion, reason, .. } = found;
    let chart = match (range.first(), range.last()) {
        (Some(first), Some(last)) => {
            let ends = [format!("lr {:.0e}", first.lr), format!("{:.0e}", last.lr)];
            let chart = terminal::chart(range.len() as u64, |i| range[i as usize].smoothed, &ends);
            format!("range test, smoothed loss\n{chart}\n")
        }
        _ => String::new(),
    };
    let losses = || sweep.iter().filter_map(|trial| trial.loss);
    let lowest = losses().fold(f64::INFINITY, f64::min);
    let most = losses().fold(lowest, f64::max);
    let line = |trial: &Trial| {
        let mark = if trial.lr == *suggestion { '*' } else { ' ' };
        let bar = |loss: f64| {
            // The best one has a short bar, too.
            let part = if most > lowest { (loss - lowest) / (most - lowest) } else { 0.0 };
            format!("{loss:<10.4} {}", "#".repeat(1 + (40.0 * part) as usize))
        };
        let loss = trial.loss.map_or_else(|| "diverged".to_owned(), bar);
        format!("{mark}{:>10.1e}  {loss}\n", trial.lr)
    };
    let lines: String = sweep.iter().map(line).collect();
    format!("{chart}sweep, {measure}\n{lines}\nsuggestion  {suggestion:e}\nreason      {reason}\n")
}

const WIDTH: usize = 860;
const HEIGHT: usize = 330;

/// The range test, and the sweep below it.
fn picture(found: &LrFound) -> Picture {
    let mut picture = Picture::new(WIDTH, 2 * HEIGHT);
    let curve = |name: &str, color, points| Curve { name: name.to_owned(), points, color };
    let losses = found.range.iter().map(|point| [point.lr, point.loss]).collect();
    let smoothed: Vec<_> = found.range.iter().map(|point| [point.lr, point.smoothed]).collect();
    let curves = [curve("loss", PALETTE[5], losses), curve("smoothed", PALETTE[0], smoothed)];
    plot(&mut picture, 0, "range test", &curves);
    let loss = |trial: &Trial| Some([trial.lr, trial.loss?]);
    let points: Vec<_> = found.sweep.iter().filter_map(loss).collect();
    let best = points.iter().filter(|[lr, _]| *lr == found.suggestion).copied().collect();
    let name = format!("suggestion {:e}", found.suggestion);
    let curves = [curve(found.measure, PALETTE[0], points), curve(&name, PALETTE[1], best)];
    plot(&mut picture, HEIGHT, "sweep", &curves);
    picture
}

fn plot(picture: &mut Picture, top: usize, title: &str, curves: &[Curve]) {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let x = Axis::around("lr", true, all().map(|[x, _]| *x));
    let y = Axis::around("", false, all().map(|[_, y]| *y));
    draw::plot(picture, [top as f64, HEIGHT as f64], title, [x, y], curves);
}
