//! `rappel selftest`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use rappel_files::Destination;
use rappel_tensor::{
    DType, Device, KernelRate, Key, Tensor, TensorFile, fallbacks, kernel_rates, write_tensors,
};
use rappel_train::{Config, OPTIMIZERS, Run, replay};
use serde_json::{Value, json};

use crate::output::print;

/// Check a GPU against the processor: update rules, training, and how fast its kernels are
///
/// Each update rule is applied to the same gradients on both, and must leave the same numbers; a GPT and a Llama are trained
/// on both, twice on the GPU, and must have the same losses within what rounding does, and the same bits both times. Then
/// kernels are timed, beside a copy and a square product. Takes two or three minutes, and writes to the system's folder for
/// temporary files alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  rappel selftest --device cuda:0 --json > selftest.json")]
pub struct Args {
    /// What is checked: cuda:0, cuda:1, ..
    #[arg(long, default_value = "cuda:0")]
    device: Device,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Tiny models and few steps, for a device that is emulated
    #[arg(long, hide = true)]
    small: bool,
}

/// One comparison.
struct Check {
    name: String,
    /// What is wrong, or nothing.
    failure: Option<String>,
    /// What was found.
    found: String,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let since = Instant::now();
    let device = args.device;
    device.open()?;
    let Some(hardware) = device.hardware() else {
        bail!("{device} is what others are compared with; name a GPU, such as cuda:0")
    };
    let folder = std::env::temp_dir().join(format!("rappel-selftest-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let done = checks(device, args.small, &folder);
    let removed = fs::remove_dir_all(&folder);
    let checks = done?;
    removed.with_context(|| format!("cannot remove {}", folder.display()))?;
    let fallbacks = fallbacks();
    let rates = kernel_rates(device, if args.small { 256 } else { 1 })?;
    let failed = checks.iter().filter(|check| check.failure.is_some()).count();
    let seconds = since.elapsed().as_secs_f64();
    let text = if args.json {
        let check = |check: &Check| json!({ "name": check.name, "found": check.found, "failure": check.failure });
        let rate = |rate: &KernelRate| {
            json!({
                "name": rate.name, "milliseconds": rate.milliseconds, "bytes_per_second": rate.bytes,
                "flops_per_second": rate.flops,
            })
        };
        let on_processor: BTreeMap<&str, u64> = fallbacks.iter().copied().collect();
        let object = json!({
            "device": device.to_string(), "hardware": hardware, "seconds": seconds, "failed": failed,
            "checks": checks.iter().map(check).collect::<Vec<_>>(),
            "on_the_processor": on_processor,
            "rates": rates.iter().map(rate).collect::<Vec<_>>(),
        });
        format!("{object}\n")
    } else {
        let mut text = format!("{device}, {hardware}\n\n");
        for check in &checks {
            let verdict = if check.failure.is_some() { "FAILED" } else { "ok" };
            let detail = check.failure.as_deref().unwrap_or(&check.found);
            let _ = writeln!(text, "{verdict:7} {:28} {detail}", check.name);
        }
        text.push_str("\nran on the processor, for want of a kernel:\n");
        for (name, count) in &fallbacks {
            let _ = writeln!(text, "        {name:28} {count} times");
        }
        text.push_str(&rate_table(&rates));
        let _ = writeln!(text, "\n{} checks, {failed} failed, {seconds:.0} s", checks.len());
        text
    };
    print(&text)?;
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A line a kernel: what it reached, over what a copy or a square product reaches.
fn rate_table(rates: &[KernelRate]) -> String {
    let best =
        |of: fn(&KernelRate) -> f64| rates.iter().map(of).find(|rate| *rate > 0.0).unwrap_or(1.0);
    let (bytes, flops) = (best(|rate| rate.bytes), best(|rate| rate.flops));
    let mut text =
        format!("\n{:44} {:>10} {:>9} {:>9} {:>8}\n", "kernel", "ms", "GB/s", "TFLOP/s", "of best");
    for rate in rates {
        let (number, share) =
            ((rate.bytes / 1e9, rate.flops / 1e12), rate.bytes / bytes + rate.flops / flops);
        let _ = writeln!(
            text,
            "{:44} {:>10.3} {:>9.0} {:>9.1} {:>7.0} %",
            rate.name,
            rate.milliseconds,
            number.0,
            number.1,
            100.0 * share
        );
    }
    text
}

fn checks(device: Device, small: bool, folder: &Path) -> anyhow::Result<Vec<Check>> {
    let input = gradients(folder)?;
    let mut checks: Vec<Check> =
        OPTIMIZERS.entries.iter().map(|entry| rule(device, entry.name, &input, folder)).collect();
    for model in ["gpt2", "llama"] {
        checks.push(training(device, model, small, folder));
    }
    Ok(checks)
}

/// A file of parameters and gradients for `replay`.
fn gradients(folder: &Path) -> anyhow::Result<PathBuf> {
    let shapes = [("weight", [33, 20]), ("other", [300, 7])];
    let mut tensors = Vec::new();
    for (i, (name, shape)) in shapes.into_iter().enumerate() {
        let drawn = |step: u64| Tensor::randn(shape, DType::F32, Key::new(i as u64).with(step));
        tensors.push((format!("param.{name}"), drawn(0)));
        tensors.extend((0..6).map(|step| (format!("grad.{step}.{name}"), drawn(step + 1))));
    }
    let path = folder.join("gradients.safetensors");
    write_tensors(&path, tensors, &BTreeMap::new())?;
    Ok(path)
}

/// Compares what a rule makes of the same gradients on the device and on the processor.
fn rule(device: Device, name: &str, input: &Path, folder: &Path) -> Check {
    let config =
        format!("optimizer = {{ name = \"{name}\", lr = 0.01 }}\ntrain.max_grad_norm = 0.0\n");
    let config = match name {
        // These have no rate of their own.
        "lbfgs" => "optimizer = { name = \"lbfgs\" }\n".to_owned(),
        _ => config,
    };
    let steps = |device: Device, to: &str| -> anyhow::Result<Vec<f64>> {
        let to = folder.join(to);
        replay(&config, &[], device, input, &Destination::of(&to)?)?;
        let file = TensorFile::open(&to)?;
        let names = file.names();
        let values = names.iter().map(|name| Ok(file.tensor(name)?.to_f64_vec()));
        let values: anyhow::Result<Vec<Vec<f64>>> = values.collect();
        Ok(values?.concat())
    };
    let check =
        |failure, found: &str| Check { name: name.to_owned(), failure, found: found.to_owned() };
    let want = match steps(Device::Cpu, "cpu.safetensors") {
        // What an optimizer refuses here it refuses anywhere.
        Err(reason) => return check(None, &format!("not replayed: {reason}")),
        Ok(want) => want,
    };
    let found = match (steps(device, "device.safetensors"), steps(device, "again.safetensors")) {
        (Ok(found), Ok(again)) if same(&found, &again) => found,
        (Ok(_), Ok(_)) => return check(Some("other bits the second time".to_owned()), ""),
        (Err(reason), _) | (_, Err(reason)) => return check(Some(format!("{reason:#}")), ""),
    };
    if same(&found, &want) {
        return check(None, "the processor's bits");
    }
    let apart = distance(&found, &want);
    let failure = (apart.is_nan() || apart > 1e-4)
        .then(|| format!("{apart:.1e} from the processor's numbers"));
    check(failure, &format!("{apart:.1e} from the processor's numbers"))
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The largest difference over the largest number.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let size = b.iter().fold(1e-30_f64, |size, x| size.max(x.abs()));
    let apart = |(a, b): (&f64, &f64)| (a - b).abs();
    // A NaN stays.
    a.iter()
        .zip(b)
        .map(apart)
        .fold(0.0, |most: f64, x| if x.is_nan() || x > most { x } else { most })
        / size
}

/// Trains a model on the processor and twice on the device.
fn training(device: Device, model: &str, small: bool, folder: &Path) -> Check {
    let (steps, width, layers, length) = if small { (3, 16, 1, 16) } else { (50, 128, 5, 128) };
    let sizes = match model {
        "gpt2" => {
            format!("n_embd = {width}\nn_layer = {layers}\nn_head = 2\nn_positions = {length}")
        }
        _ => format!(
            "hidden_size = {width}\nintermediate_size = {}\nnum_hidden_layers = {layers}\nnum_attention_heads = 2\n\
             num_key_value_heads = 1\nmax_position_embeddings = {length}",
            3 * width
        ),
    };
    let corpus = folder.join("corpus.txt");
    let line = |i: usize| format!("let x{i} = {} + {};\n", i * i % 97, i % 13);
    let losses = |device: Device, out: &str| -> anyhow::Result<Vec<f64>> {
        fs::write(&corpus, (0..4000).map(line).collect::<String>())?;
        let out = folder.join(format!("{model}-{out}"));
        let [out_text, files] =
            [&out, &corpus].map(|path| toml::Value::from(path.to_string_lossy().into_owned()));
        let text = format!(
            "out = {out_text}\ndevice = \"{device}\"\n[data]\nfiles = [{files}]\nsequence_length = {length}\n\
             validation_fraction = 0.05\ncache = false\n[model]\nname = \"{model}\"\n{sizes}\n[optimizer]\nname = \"adamw\"\nlr = 1e-3\n\
             [train]\nsteps = {steps}\nbatch_size = 4\nlog_every = 1\n[sample]\nmax_tokens = 1\n"
        );
        let config = Config::parse(&text, &[])?;
        Run::create(&config, "selftest", &mut ())?.train(&mut ())?;
        let log = fs::read_to_string(out.join("metrics.jsonl"))?;
        let loss = |line: &str| serde_json::from_str::<Value>(line).ok()?["train/loss"].as_f64();
        Ok(log.lines().filter_map(loss).collect())
    };
    let check =
        |failure, found: String| Check { name: format!("training {model}"), failure, found };
    let all = losses(Device::Cpu, "cpu")
        .and_then(|want| Ok((want, losses(device, "one")?, losses(device, "two")?)));
    let (want, found, again) = match all {
        Ok(all) => all,
        Err(reason) => return check(Some(format!("{reason:#}")), String::new()),
    };
    if !same(&found, &again) {
        return check(Some("other bits the second time".to_owned()), String::new());
    }
    let apart = distance(&found, &want);
    let summary = format!("{} losses, {apart:.1e} from the processor's", found.len());
    let wrong = found.len() != steps || found.len() != want.len() || apart.is_nan() || apart > 1e-3;
    check(wrong.then(|| summary.clone()), summary)
}
