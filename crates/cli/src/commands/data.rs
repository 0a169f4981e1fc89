//! `rappel data`.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rappel_data::{SftRow, Tokenizer};
use rappel_train::{Config, ShownImages, TuningData, shown_images, tuning_data};
use serde_json::{Value, json};

use crate::draw;
use crate::escape::escaped;
use crate::names::{self, Names};
use crate::output::{print, say};
use crate::progress::Progress;

/// Show the rows or images of a config as they are trained on, and figures of them
///
/// A row of text is shown as the model reads it, special tokens included; what is trained is green on a terminal, elsewhere in
/// [[double brackets]]. Of preferences each answer is a row behind its prompt. Images go into a picture: some of them, each as
/// validations see it and as the first steps would see it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel data configs/sft.toml
  rappel data configs/sft.toml --row 7
  rappel data configs/sft.toml --stats --json
  rappel data configs/fashion_cnn.toml --png images.png")]
pub struct Args {
    /// A TOML file whose task is sft, dpo, kto or another of these, or image_classification
    config: PathBuf,
    /// Show row N of those to train on alone, counted from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    row: Option<u64>,
    /// Show figures alone
    #[arg(long, conflicts_with = "row")]
    stats: bool,
    /// Draw images into a file: .png or .svg
    #[arg(long, value_name = "FILE", conflicts_with = "row")]
    png: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Set a config key, such as data.packing=true; can be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", hide_possible_values = true, value_parser = Names(names::settings))]
    settings: Vec<String>,
}

/// Rows that are shown where none is asked for.
const SHOWN: usize = 2;
/// Bars of a histogram, and the width of the longest.
const BARS: usize = 8;
const WIDTH: usize = 40;

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&args.config)
        .with_context(|| format!("cannot read the config {}", args.config.display()))?;
    let settings: Vec<&str> = args.settings.iter().map(String::as_str).collect();
    args.png.as_deref().map_or(Ok(()), |path| draw::kind(path).map(|_| ()))?;
    let mut progress = Progress::outside_a_run(quiet);
    let config = Config::parse(&text, &settings);
    let config = config.with_context(|| args.config.display().to_string())?;
    if config.run().task == "image_classification" {
        let read = shown_images(&config, &mut progress);
        progress.finish();
        return images(args, &read.with_context(|| args.config.display().to_string())?);
    }
    if let Some(path) = &args.png {
        bail!("--png {}: task `{}` has no images", path.display(), config.run().task);
    }
    let read = tuning_data(&config, &mut progress);
    progress.finish();
    let data = read.with_context(|| args.config.display().to_string())?;
    let rows: Vec<SftRow<'_>> = data.rows();
    if let Some(number) = args.row {
        let Some(row) = rows.get(number as usize - 1) else {
            bail!("--row {number}: there are {} rows to train on", rows.len());
        };
        print(&if args.json {
            format!("{}\n", row_json(data.tokenizer(), row, data.role(number as usize - 1)))
        } else {
            shown(data.tokenizer(), row, data.role(number as usize - 1))
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let figures = Figures::of(&data, &rows);
    if args.json {
        print(&format!("{}\n", figures.json()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = figures.text();
    let some = if args.stats { 0 } else { SHOWN };
    for (i, row) in rows.iter().take(some).enumerate() {
        text.push('\n');
        text += &shown(data.tokenizer(), row, data.role(i));
    }
    for note in data.skipped().iter().take(SHOWN) {
        say(format_args!("note: left out: {note}"));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn images(args: &Args, found: &ShownImages) -> anyhow::Result<ExitCode> {
    if args.row.is_some() {
        bail!("--row: images are shown by --png FILE");
    }
    if let Some(path) = &args.png {
        draw::save(&found.sheet, path)?;
    }
    let ShownImages { classes, held_out, details, .. } = found;
    let count: usize = classes.iter().map(|(_, count)| count).sum();
    if args.json {
        let classes: Vec<Value> =
            classes.iter().map(|(name, count)| json!({ "class": name, "images": count })).collect();
        let found = json!({
            "images": count, "held_out": held_out, "details": details, "classes": classes,
        });
        print(&format!("{found}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("images      {count} to train on, {held_out} to validate\n");
    for detail in details {
        let _ = writeln!(text, "            {}", escaped(detail));
    }
    let most = classes.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (name, count) in classes {
        let bar = "#".repeat((count * WIDTH).div_ceil(most));
        let _ = writeln!(text, "{count:>7} {bar:<WIDTH$} {}", escaped(name));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A part of a row: its text, and whether it is trained.
type Part = (String, bool);

/// The parts of a row: special tokens as they are spelled, all else as text.
fn parts(tokenizer: &Tokenizer, row: &SftRow<'_>) -> Vec<Part> {
    let mut parts: Vec<(Vec<u32>, bool)> = Vec::new();
    for (id, weight) in row.ids.iter().zip(row.weights) {
        let trained = *weight > 0.0;
        match parts.last_mut().filter(|(_, known)| *known == trained) {
            Some((ids, _)) => ids.push(*id),
            None => parts.push((vec![*id], trained)),
        }
    }
    parts.into_iter().map(|(ids, trained)| (tokenizer.spell(&ids), trained)).collect()
}

fn shown(tokenizer: &Tokenizer, row: &SftRow<'_>, role: Option<&str>) -> String {
    let [open, close] = if stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        ["\u{1b}[32m", "\u{1b}[0m"]
    } else {
        ["[[", "]]"]
    };
    let trained = row.weights.iter().filter(|weight| **weight > 0.0).count();
    let cut = if row.cut > 0 { format!(", {} more cut off", row.cut) } else { String::new() };
    let mut text = format!(
        "--- {}, {}{}: {} tokens, {trained} trained{cut}\n",
        escaped(&row.path.display().to_string()),
        row.place,
        role.map_or_else(String::new, |role| format!(", {role}")),
        row.ids.len()
    );
    for (part, trained) in parts(tokenizer, row) {
        let part = escaped(&part);
        if trained {
            let _ = write!(text, "{open}{part}{close}");
        } else {
            text += &part;
        }
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn row_json(tokenizer: &Tokenizer, row: &SftRow<'_>, role: Option<&str>) -> Value {
    let tokens = row.ids.iter().zip(row.weights);
    let tokens: Vec<Value> = tokens
        .map(|(id, weight)| json!({ "id": id, "token": tokenizer.spell(&[*id]), "weight": weight }))
        .collect();
    let parts: Vec<Value> = parts(tokenizer, row)
        .into_iter()
        .map(|(text, trained)| json!({ "text": text, "trained": trained }))
        .collect();
    json!({
        "file": row.path, "place": row.place.to_string(), "role": role, "cut": row.cut, "parts": parts, "tokens": tokens,
    })
}

/// Figures of the rows to train on.
struct Figures {
    rows: usize,
    held_out: usize,
    skipped: usize,
    tokens: usize,
    trained: usize,
    cut: usize,
    duplicates: usize,
    samples: usize,
    max_length: usize,
    /// Sorted.
    lengths: Vec<usize>,
}

impl Figures {
    fn of(data: &TuningData, rows: &[SftRow<'_>]) -> Self {
        let mut lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        lengths.sort_unstable();
        let different: std::collections::HashSet<&[u32]> = rows.iter().map(|row| row.ids).collect();
        let trained = rows.iter().flat_map(|row| row.weights).filter(|weight| **weight > 0.0);
        Self {
            rows: rows.len(),
            held_out: data.held_out(),
            skipped: data.skipped().len(),
            tokens: lengths.iter().sum(),
            trained: trained.count(),
            cut: rows.iter().filter(|row| row.cut > 0).count(),
            duplicates: rows.len() - different.len(),
            samples: data.packed().unwrap_or(rows.len()),
            max_length: data.max_length(),
            lengths,
        }
    }

    fn share(&self) -> f64 {
        self.trained as f64 / self.tokens as f64
    }

    /// How much of the samples is filled, where several rows share one.
    fn filled(&self) -> Option<f64> {
        let room = self.samples * self.max_length;
        (self.samples != self.rows).then(|| self.tokens as f64 / room as f64)
    }

    fn quantile(&self, share: f64) -> usize {
        self.lengths[((self.rows - 1) as f64 * share).round() as usize]
    }

    /// Where each bar begins, where it ends, and how many rows it counts.
    fn histogram(&self) -> Vec<[usize; 3]> {
        let width = (self.quantile(1.0) + 1).div_ceil(BARS).max(1);
        let bar = |i: usize| {
            let range = i * width..(i + 1) * width;
            let rows = self.lengths.iter().filter(|length| range.contains(length)).count();
            [range.start, range.end - 1, rows]
        };
        (0..BARS).map(bar).filter(|bar| bar[0] <= self.quantile(1.0)).collect()
    }

    fn json(&self) -> Value {
        json!({
            "rows": self.rows, "held_out": self.held_out, "skipped": self.skipped, "tokens": self.tokens,
            "trained": self.trained, "trained_share": self.share(), "cut": self.cut, "duplicates": self.duplicates,
            "max_length": self.max_length, "samples": self.samples, "packing_efficiency": self.filled(),
            "lengths": {
                "min": self.quantile(0.0), "median": self.quantile(0.5), "p95": self.quantile(0.95),
                "max": self.quantile(1.0), "histogram": self.histogram(),
            },
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "rows        {} to train on, {} to validate, {} left out, {} duplicates\n\
             tokens      {}, of which {} are trained: {:.1}%\n\
             lengths     {} at least, {} median, {} of 95%, {} at most; {} rows cut to {}\n",
            self.rows,
            self.held_out,
            self.skipped,
            self.duplicates,
            self.tokens,
            self.trained,
            100.0 * self.share(),
            self.quantile(0.0),
            self.quantile(0.5),
            self.quantile(0.95),
            self.quantile(1.0),
            self.cut,
            self.max_length,
        );
        if let Some(filled) = self.filled() {
            let _ = writeln!(
                text,
                "packing     {} samples, {:.1}% filled",
                self.samples,
                100.0 * filled
            );
        }
        let bars = self.histogram();
        let most = bars.iter().map(|bar| bar[2]).max().unwrap_or(1).max(1);
        for [from, to, rows] in bars {
            let bar = "#".repeat((rows * WIDTH).div_ceil(most));
            let _ = writeln!(text, "{from:>6} - {to:<6} {rows:>7} {bar}");
        }
        text
    }
}
