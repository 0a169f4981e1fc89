//! `rappel eval`.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use rappel_train::Pretrained;
use serde_json::json;

/// Measure how well a model predicts a text: nats per token, perplexity, tokens
///
/// The text is read in overlapping windows, each scored on what the one before did not reach; its
/// first token is read but not predicted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  rappel eval --model runs/quickstart-1/model --file src/main.rs --json")]
pub struct Args {
    /// A folder with config.json, model.safetensors and tokenizer.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The text
    #[arg(long, value_name = "TEXT")]
    file: PathBuf,
    /// Tokens of a window. Unset: the model's positions
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Tokens from one window to the next. Unset: half a window
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = std::fs::read(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let model = Pretrained::load(&args.model)?;
    let result = model
        .evaluate(&text, args.window, args.stride)
        .with_context(|| args.file.display().to_string())?;
    let (loss, perplexity, tokens) = (result.nats_per_token, result.perplexity(), result.tokens);
    let told = if args.json {
        json!({ "loss": loss, "perplexity": perplexity, "tokens": tokens }).to_string() + "\n"
    } else {
        format!(
            "loss        {loss:.4} nats per token\nperplexity  {perplexity:.4}\ntokens      {tokens}\n"
        )
    };
    stdout().write_all(told.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
