//! `rappel devices`.

use std::fmt::Write;
use std::process::ExitCode;

use rappel_tensor::{DeviceError, DeviceInfo, DevicesReport, LibraryInfo, devices};
use serde_json::{Value, json};

use crate::output::print;

/// Show the GPUs that runs can use, or what is missing
///
/// Nothing of CUDA is needed to build rappel. A run on a GPU (`device = "cuda:0"`, or "auto") needs the NVIDIA driver, NVRTC
/// and cuBLASLt, which are looked for where RAPPEL_CUDA_PATH says, where the loader looks, in the Python environment, and in
/// toolkits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel devices
  RAPPEL_CUDA_PATH=/opt/cuda/lib64 rappel devices --json")]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = devices();
    print(&if args.json { format!("{}\n", as_json(&report)) } else { text(&report) })?;
    Ok(ExitCode::SUCCESS)
}

fn text(report: &DevicesReport) -> String {
    let mut text = format!("cpu      {} threads\n", rayon::current_num_threads());
    match &report.gpus {
        Ok(gpus) => {
            for (i, gpu) in gpus.iter().enumerate() {
                let DeviceInfo { name, capability, multiprocessors, memory_bytes, refusal } = gpu;
                let gb = *memory_bytes as f64 / 1e9;
                let _ = writeln!(
                    text,
                    "cuda:{i}   {name}, {gb:.1} GB, compute capability {capability}, {multiprocessors} multiprocessors"
                );
                if let Some(refusal) = refusal {
                    let _ = writeln!(text, "         cannot be used: {refusal}");
                }
            }
        }
        Err(reason) => {
            let _ = writeln!(text, "no GPU:  {reason}");
        }
    }
    // Without a driver the first line has said so.
    let parts =
        [("driver", &report.driver), ("NVRTC", &report.nvrtc), ("cuBLASLt", &report.cublaslt)];
    for (name, found) in parts {
        match found {
            Ok(LibraryInfo { place, version }) => {
                let _ = writeln!(text, "{name:8} {version}, {place}");
            }
            Err(reason) if name != "driver" => {
                let _ = writeln!(text, "{name:8} {reason}");
            }
            Err(_) => {}
        }
    }
    text
}

fn as_json(report: &DevicesReport) -> Value {
    let library = |found: &Result<LibraryInfo, DeviceError>| match found {
        Ok(LibraryInfo { place, version }) => json!({ "place": place, "version": version }),
        Err(reason) => json!({ "missing": reason.to_string() }),
    };
    let gpus = match &report.gpus {
        Ok(gpus) => {
            let gpu = |(i, gpu): (usize, &DeviceInfo)| {
                json!({
                    "device": format!("cuda:{i}"), "name": gpu.name, "capability": gpu.capability,
                    "multiprocessors": gpu.multiprocessors, "memory_bytes": gpu.memory_bytes, "refusal": gpu.refusal,
                })
            };
            gpus.iter().enumerate().map(gpu).collect::<Vec<_>>()
        }
        Err(_) => Vec::new(),
    };
    json!({
        "threads": rayon::current_num_threads(),
        "gpus": gpus,
        "no_gpu": report.gpus.as_ref().err().map(ToString::to_string),
        "driver": library(&report.driver),
        "nvrtc": library(&report.nvrtc),
        "cublaslt": library(&report.cublaslt),
    })
}
