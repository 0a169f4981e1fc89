//! `rappel embed`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rappel_data::{Document, read_texts, write_npy, write_parquet};
use rappel_model::Pooling;
use rappel_train::{Embedder, EmbedderOptions, Embeddings};
use serde_json::json;

use super::local_model;
use crate::output::{destination, report, say};

/// Write an embedding of each text: a vector that is near to those of texts with a like meaning
///
/// A folder of sentence-transformers says by its files how embeddings are made of the states of a text's tokens. Any
/// other folder of an encoder needs --pooling.
///
/// The output is by its name: .npy, an array float32 [texts, numbers]; .jsonl, objects with `text` and `embedding`; or
/// .parquet, columns `text` and `embedding`. All are in the order of the texts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel embed --model all-MiniLM-L6-v2 --file sentences.txt --out embeddings.npy
  rappel embed --model bert-base --pooling mean --normalize --file reviews.csv --column review --out reviews.parquet")]
pub struct Args {
    /// A folder of sentence-transformers, a folder with config.json, model.safetensors and tokenizer.json of an encoder, or
    /// org/name on the Hugging Face Hub
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The texts: the lines of a text file, or a column of .jsonl, .csv, .tsv or .parquet
    #[arg(long, value_name = "TEXTS")]
    file: PathBuf,
    /// The column, or field of records, that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    column: String,
    /// Output: FILE.npy, FILE.jsonl or FILE.parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How the states of a text's tokens become one: their mean, or that of the first token. Default: as the model's
    /// modules.json says
    #[arg(long, value_enum)]
    pooling: Option<PoolingName>,
    /// Divide each embedding by its length, also where modules.json does not say so
    #[arg(long)]
    normalize: bool,
    /// Longest text in tokens; the rest is left out. Default: as the model's files say
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Texts computed at a time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PoolingName {
    Mean,
    Cls,
}

impl From<PoolingName> for Pooling {
    fn from(name: PoolingName) -> Self {
        match name {
            PoolingName::Mean => Self::Mean,
            PoolingName::Cls => Self::Cls,
        }
    }
}

/// The formats of the output.
#[derive(Debug, Clone, Copy)]
enum Format {
    Npy,
    JsonLines,
    Parquet,
}

impl Format {
    fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().unwrap_or_default().to_ascii_lowercase().to_str() {
            Some("npy") => Ok(Self::Npy),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => bail!(
                "--out {}: expected a name that ends in .npy, .jsonl or .parquet",
                path.display()
            ),
        }
    }
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let format = Format::of(&args.out)?;
    let out = destination(&args.out)?;
    if let (Ok(from), Ok(to)) = (args.file.canonicalize(), args.out.canonicalize()) {
        ensure!(
            from != to,
            "{}: --out is the file of texts itself; give another",
            args.out.display()
        );
    }
    let texts = read_texts(&args.file, &args.column)?;
    ensure!(!texts.is_empty(), "{}: has no texts", args.file.display());
    let utf8: Vec<&str> = texts.iter().map(text).collect::<Result<_, _>>()?;
    let options = EmbedderOptions {
        pooling: args.pooling.map(Pooling::from),
        normalize: args.normalize,
        max_length: args.max_length,
    };
    let model = Embedder::load(&local_model(&args.model, quiet)?, &options)?;
    let mut progress = Progress::new(texts.len(), quiet);
    let start = Instant::now();
    let made = model.embed(&texts, args.batch_size as usize, &mut |done| progress.show(done))?;
    let seconds = start.elapsed().as_secs_f64();
    progress.end();
    let Embeddings { numbers, width, truncated, tokens } = &made;
    if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
        bail!("{}: its embedding is not finite", texts[at / width].name);
    }
    out.write(|out| match format {
        Format::Npy => write_npy(out, *width, numbers),
        Format::Parquet => write_parquet(out, &utf8, *width, numbers),
        Format::JsonLines => {
            utf8.iter().zip(numbers.chunks_exact(*width)).try_for_each(|(text, embedding)| {
                writeln!(out, "{}", json!({ "text": text, "embedding": embedding }))
            })
        }
    })?;
    let most = model.max_length();
    if *truncated > 0 {
        let texts = if *truncated == 1 { "text is" } else { "texts are" };
        say(format_args!(
            "note: {truncated} {texts} longer than {most} tokens, whose ends were left out"
        ));
    }
    let count = texts.len();
    let told = if args.json {
        let speed = count as f64 / seconds;
        json!({
            "texts": count, "numbers": width, "tokens": tokens, "truncated": truncated, "max_length": most,
            "seconds": seconds, "texts_per_second": speed, "out": args.out,
        })
        .to_string()
    } else {
        format!("{count} embeddings of {width} numbers, written to {}", args.out.display())
    };
    report(&out, &told)?;
    Ok(ExitCode::SUCCESS)
}

fn text(document: &Document) -> anyhow::Result<&str> {
    std::str::from_utf8(&document.bytes).with_context(|| format!("{}: not UTF-8", document.name))
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
    lines: bool,
    count: usize,
    last: Instant,
}

impl Progress {
    fn new(count: usize, quiet: bool) -> Self {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(count as u64), target);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} texts  {eta} left");
        bar.set_style(style.expect("a template that is ours"));
        Self { lines: bar.is_hidden() && !quiet, bar, count, last: Instant::now() }
    }

    fn show(&mut self, done: usize) {
        self.bar.set_position(done as u64);
        if self.lines && self.last.elapsed() >= Duration::from_secs(2) {
            self.last = Instant::now();
            say(format_args!("{done} of {} texts", self.count));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
