//! `rappel replay`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use rappel_tensor::Device;
use serde_json::json;

use crate::names::{self, Names};
use crate::output::{destination, report, say};

/// Apply a config's optimizer to gradients from a file, to compare it with another implementation
///
/// The input is a safetensors file with tensors `param.NAME` and `grad.STEP.NAME`, STEP counted from 0;
/// the output holds `param.STEP.NAME` after each step. It computes in the input's dtype. Only the section
/// `optimizer` is required; its groups, `schedule` and the clipping of `train` are applied.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  rappel replay optimizer.toml --input gradients.safetensors --output steps.safetensors

where optimizer.toml may be no more than
  optimizer = { name = \"adamw\", lr = 1e-3 }")]
pub struct Args {
    /// A TOML file with a section `optimizer`
    config: PathBuf,
    /// The initial parameters, and the gradients of each step
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the parameters after each step are written; `-` is standard output
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Where it is computed: cpu, cuda:0, ..
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Set a config key, such as optimizer.lr=1e-3; can be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", hide_possible_values = true, value_parser = Names(names::settings))]
    settings: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = std::fs::read_to_string(&args.config)
        .with_context(|| format!("cannot read {}", args.config.display()))?;
    let settings: Vec<&str> = args.settings.iter().map(String::as_str).collect();
    let output = destination(&args.output)?;
    args.device.open()?;
    let done = rappel_train::replay(&config, &settings, args.device, &args.input, &output)?;
    for note in &done.notes {
        say(format_args!("note: {note}"));
    }
    let (name, steps, tensors) = (&done.optimizer, done.steps, done.tensors);
    let told = if args.json {
        json!({
            "optimizer": name,
            "steps": steps,
            "tensors": tensors,
            "state_bytes": done.state_bytes,
            "output": args.output,
        })
        .to_string()
    } else {
        let place = args.output.display();
        format!("{steps} steps of {name} on {tensors} tensors, written to {place}")
    };
    report(&output, &told)?;
    Ok(ExitCode::SUCCESS)
}
