//! `rappel merge`.

use std::path::PathBuf;
use std::process::ExitCode;

use rappel_train::{Merged, merge};
use serde_json::json;

use super::local_model;
use crate::output::{print, say};

/// Make an adapter part of its model, and compare the result with the model that has the adapter on it
///
/// The weights are added up in single precision, onto the model as it is stored, and written in the type that it is
/// stored in; weights of few bits a number become numbers. Then what was written is read, and its logits are compared.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  rappel merge --model SmolLM2-135M-Instruct --adapter runs/lora-1 --out merged")]
pub struct Args {
    /// The model: a run, a folder with config.json and model.safetensors, a GGUF file, or org/name on the Hugging Face Hub
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The adapter, in peft's format: a run with model.lora, or a folder with adapter_config.json
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// Output folder; it must not exist yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let Merged { architecture, parameters, dtype, largest_logit, difference, same, notes } =
        merge(&local_model(&args.model, quiet)?, &local_model(&args.adapter, quiet)?, &args.out)?;
    if !args.json {
        for note in &notes {
            say(format_args!("note: {note}"));
        }
    }
    print(&if args.json {
        let report = json!({
            "model": architecture, "parameters": parameters, "dtype": dtype.to_string(), "out": args.out,
            "largest_logit": largest_logit, "largest_difference": difference,
            "same_likeliest": same[0], "compared": same[1], "notes": notes,
        });
        format!("{report}\n")
    } else {
        format!(
            "{architecture}, {parameters} parameters as {dtype}, written to {}\n\
             logits differ by {difference:.2e} at most, of up to {largest_logit:.3}; the likeliest token is the same at \
             {} of {} places\n",
            args.out.display(),
            same[0],
            same[1]
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
