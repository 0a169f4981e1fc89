//! `rappel eval`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use rappel_data::read_documents;
use rappel_train::{Metric, Pretrained, TabularModel, model_folder};
use serde_json::{Value, json};

use crate::output::{print, say};

/// Measure how well a model predicts a text or a table
///
/// A language model: nats per token, perplexity, tokens. The text is read in overlapping windows, each
/// scored on what the one before did not reach; its first token is read but not predicted.
///
/// A model of tables: rmse, mae, r2 of numbers; accuracy, log-loss, F1, AUC of classes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  rappel eval --model runs/quickstart-1/model --file src/main.rs --json
  rappel eval --model runs/tabular-1/model --file test.csv")]
pub struct Args {
    /// A run, or a folder with config.json, model.safetensors, and tokenizer.json or preprocessing.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The text, or the table: .csv, .tsv or .parquet
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Tokens of a window. Unset: the model's positions
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Tokens from one window to the next. Unset: half a window
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Field of a record of a .jsonl file that holds its text. Unset: `text`
    #[arg(long, value_name = "NAME")]
    text_field: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = model_folder(&args.model)?;
    if TabularModel::is_in(&folder) {
        return table(args, &folder);
    }
    let documents = read_documents(&args.file, args.text_field.as_deref().unwrap_or("text"))?;
    let model = Pretrained::load(&folder)?;
    let result = model
        .evaluate(&documents, args.window, args.stride)
        .with_context(|| args.file.display().to_string())?;
    let (loss, perplexity, tokens) = (result.nats_per_token, result.perplexity(), result.tokens);
    let told = if args.json {
        json!({ "loss": loss, "perplexity": perplexity, "tokens": tokens }).to_string() + "\n"
    } else {
        format!(
            "loss        {loss:.4} nats per token\nperplexity  {perplexity:.4}\ntokens      {tokens}\n"
        )
    };
    print(&told)?;
    Ok(ExitCode::SUCCESS)
}

fn table(args: &Args, folder: &Path) -> anyhow::Result<ExitCode> {
    if args.window.is_some() || args.stride.is_some() || args.text_field.is_some() {
        anyhow::bail!(
            "{} is a model of tables: leave out --window, --stride and --text-field",
            args.model.display()
        );
    }
    let model = TabularModel::load(folder)?;
    let scores = model.evaluate(&model.read(&args.file, true)?)?;
    for note in &scores.notes {
        say(format_args!("note: {note}"));
    }
    let told = if args.json {
        let values = scores.values.iter().map(|(metric, value)| (metric.name.into(), json!(value)));
        let rows = ("rows".to_owned(), json!(scores.rows));
        Value::Object(values.chain([rows]).collect()).to_string() + "\n"
    } else {
        let line = |(metric, value): &(Metric, f64)| format!("{:11} {value:.4}\n", metric.name);
        scores.values.iter().map(line).collect::<String>()
            + &format!("rows        {}\n", scores.rows)
    };
    print(&told)?;
    Ok(ExitCode::SUCCESS)
}
