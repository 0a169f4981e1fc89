//! `rappel generate`.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use rappel_model::{GenerateOptions, Sampling, Stop};
use rappel_train::load_model;

use crate::output::{in_model, say};

/// Continue a text with a trained model
///
/// The text is printed as it comes, and ends with the document or after --max-tokens tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel generate --model runs/quickstart-1/model --prompt 'fn main' --max-tokens 100
  rappel generate --model runs/quickstart-1/model --prompt 'use std' --max-tokens 50 --greedy")]
pub struct Args {
    /// A run, or a folder with config.json, model.safetensors and tokenizer.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The text to continue; empty begins a new document
    #[arg(long, default_value = "")]
    prompt: String,
    /// How many tokens to generate at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    /// Take the most likely token each time
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "seed"])]
    greedy: bool,
    /// Divides the logits: below 1 sharpens, above 1 flattens, 0 takes the most likely token each time
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temperature: f64,
    /// Draw among the K likeliest tokens. Unset: among all
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw among the fewest likeliest tokens whose probabilities reach P. Unset: among all
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Chooses the draws: the same seed gives the same text
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { max_tokens, greedy, temperature, top_k, top_p, seed, .. } = *args;
    // No randomness is left at temperature 0, as everywhere.
    let sampling = if greedy || temperature == 0.0 {
        Sampling::Greedy
    } else {
        Sampling::Random { temperature, top_k, top_p, seed }
    };
    let options = GenerateOptions { max_new_tokens: max_tokens, sampling, eos_token_id: vec![] };
    options.sampling.check()?;
    let model = load_model(&args.model)?;
    let mut out = stdout().lock();
    // With the first text, for before that the prompt may be refused.
    let mut prompt = Some(args.prompt.as_str());
    let stopped = model
        .generate(&args.prompt, &options, &mut |text| {
            out.write_all(prompt.take().unwrap_or_default().as_bytes())?;
            out.write_all(text.as_bytes())?;
            out.flush()
        })
        .map_err(|error| in_model(&args.model, error))?;
    writeln!(out, "{}", prompt.unwrap_or_default())?;
    if let (Some(Stop::Positions), Some(positions)) = (stopped, model.max_positions()) {
        say(format_args!(
            "note: it ends here because the model has no more than {positions} positions"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
