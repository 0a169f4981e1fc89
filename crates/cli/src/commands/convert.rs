//! `rappel convert`.

use std::path::PathBuf;
use std::process::ExitCode;

use rappel_train::{Converted, convert};
use serde_json::json;

use super::local_model;
use crate::output::print;

/// Write a language model as a GGUF file or as a folder, or an adapter as a GGUF file
///
/// A path that ends in .gguf is written as a GGUF file, with the tokenizer and the chat template in it; any other path
/// as a folder with config.json, model.safetensors, tokenizer.json and what else came with the model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel convert runs/finetune-1 --to model.gguf --dtype q8_0
  rappel convert model.gguf --to folder --dtype bfloat16
  rappel convert folder --to quantized --dtype nf4
  rappel convert runs/lora-1 --to adapter.gguf")]
pub struct Args {
    /// A run, a folder with config.json and model.safetensors, a GGUF file, or org/name on the Hugging Face Hub; an
    /// adapter: a run with model.lora, or a folder with adapter_config.json
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// Output: FILE.gguf or a folder; it must not exist yet
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Type of the matrices: F32, F16, BF16, Q8_0 or Q4_0 in a GGUF file; float32, bfloat16 or float64 in a folder, or as
    /// bitsandbytes has them nf4, fp4, nf4-double-quant, fp4-double-quant or int8. Default: that of the source; in a
    /// GGUF file F32 for all but BF16
    #[arg(long, value_name = "TYPE")]
    dtype: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let Converted { architecture, parameters, dtype } =
        convert(&local_model(&args.source, quiet)?, &args.to, args.dtype.as_deref())?;
    let to = args.to.display();
    print(&if args.json {
        let report = json!({
            "model": architecture, "parameters": parameters, "dtype": dtype, "out": args.to,
        });
        format!("{report}\n")
    } else {
        format!("{architecture}, {parameters} parameters as {dtype}, written to {to}\n")
    })?;
    Ok(ExitCode::SUCCESS)
}
