//! Adapters on weights of few bits a number, through the binary.

mod common;

use std::fs;

use common::{Place, sha256, stderr, testdata};
use rappel_tensor::TensorFile;

const QLORA: &str = r#"
task = "sft"
seed = 5

[data]
files = ["rows.jsonl"]
assistant_only_loss = true
chat_template = "template.jinja"
eos_token = "<|endoftext|>"

[model]
pretrained = "base"
lora = { r = 4, lora_alpha = 8, lora_dropout = 0.1 }
quantization = { load_in_4bit = true, bnb_4bit_use_double_quant = true }

[optimizer]
name = "adamw"
lr = 2e-2
weight_decay = 0.0

[train]
steps = 30
batch_size = 4
log_every = 1
"#;

fn place() -> Place {
    let place = Place::with_llama();
    place.write("qlora.toml", QLORA);
    place
}

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    common::train("qlora.toml", out, more)
}

fn adapter(place: &Place, run: &str) -> String {
    sha256(place.at(run).join("model/adapter_model.safetensors"))
}

#[test]
fn an_adapter_learns_on_weights_of_four_bits() {
    let place = place();
    place.ok(&train("run", &[]));
    let found = place.recorded("run", "train/loss");
    assert!(found[29] < found[0] - 1.0, "{found:?}");
    // No checkpoint and no adapter holds a weight of few bits.
    let state = fs::read_dir(place.at("run/checkpoints")).unwrap().next().unwrap().unwrap();
    let params = TensorFile::open(state.path().join("params.safetensors")).unwrap();
    assert!(!params.names().iter().any(|name| name.ends_with("q_proj.weight")), "{params:?}");
    let file = TensorFile::open(place.at("run/model/adapter_model.safetensors")).unwrap();
    let peft = TensorFile::open(testdata("lora/lora/adapter_model.safetensors")).unwrap();
    assert_eq!(file.names(), peft.names());
    let told =
        place.ok(&["merge", "--model", "base", "--adapter", "run", "--out", "merged", "--json"]);
    assert!(told.contains("model.quantization") && told.contains("single precision"), "{told}");
}

#[test]
fn a_killed_run_resumes_to_the_same_bits_on_any_number_of_threads() {
    let place = place();
    let settings = ["checkpoint.every=1", "model.dtype=bf16"];
    place.ok(&train("whole", &settings));
    let whole = adapter(&place, "whole");
    for (i, threads) in ["1", "2"].into_iter().enumerate() {
        let run = format!("run-{i}");
        place.kill_and_resume(&run, threads, &train(&run, &settings), 2 + i);
        assert_eq!(adapter(&place, &run), whole, "killed as number {i}");
    }
}

#[test]
fn every_form_of_few_bits_trains_an_adapter() {
    let place = place();
    for (name, dtype) in [("nf4", "nf4-double-quant"), ("int8", "int8")] {
        place.ok(&["convert", "base", "--to", name, "--dtype", dtype]);
    }
    place.ok(&["convert", "base", "--to", "q8.gguf", "--dtype", "Q8_0"]);
    let run = |out: &str, more: &[&str]| {
        let settings = [&["train.steps=6"][..], more].concat();
        place.ok(&train(out, &settings));
        (adapter(&place, out), place.recorded(out, "train/loss"))
    };
    let four = run("four", &[]);
    // A folder that was quantized before is what quantizing while reading makes.
    let folder = "model.pretrained=nf4";
    assert_eq!(run("folder", &[folder]).1, four.1);
    let eight = "model.quantization={load_in_8bit = true}";
    let from_int8 = run("from-int8", &["model.pretrained=int8", eight]);
    assert_eq!(run("eight", &[eight]).1, from_int8.1);
    let blocks = "model.quantization={as_stored = true}";
    let (_, losses) = run("blocks", &["model.pretrained=q8.gguf", blocks]);
    assert!((losses[0] - from_int8.1[0]).abs() < 0.05, "{losses:?}, {:?}", from_int8.1);
    let fp4 = "model.quantization={load_in_4bit = true, bnb_4bit_quant_type = \"fp4\"}";
    assert_ne!(run("fp4", &[fp4]).0, four.0);
    let (_, losses) = run("dora", &["model.lora.use_dora=true"]);
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
}

#[test]
fn text_is_generated_from_weights_of_few_bits() {
    let place = place();
    place.ok(&["convert", "base", "--to", "nf4", "--dtype", "nf4"]);
    place.ok(&["convert", "base", "--to", "q8.gguf", "--dtype", "q8_0"]);
    let text = |model: &str, more: &[&str]| {
        let args = ["generate", "--model", model, "--prompt", "let x", "--max-tokens", "6"];
        place.ok(&[&args[..], &["--greedy"], more].concat())
    };
    assert_eq!(text("base", &["--load-in-4bit"]), text("nf4", &[]));
    assert_eq!(text("q8.gguf", &[]), text("q8.gguf", &["--dtype", "float32"]));
    text("base", &["--load-in-8bit"]);
    text(
        "base",
        &["--load-in-4bit", "--bnb-4bit-quant-type", "fp4", "--bnb-4bit-use-double-quant"],
    );
    let told = place.json(&["inspect", "nf4", "--json"]).to_string();
    assert!(told.contains("nf4"), "{told}");
}

#[test]
fn what_cannot_be_quantized_says_why() {
    let place = place();
    place.ok(&["convert", "base", "--to", "nf4", "--dtype", "nf4"]);
    let alone: Vec<&str> = QLORA.lines().filter(|line| !line.starts_with("lora =")).collect();
    place.write("alone.toml", alone.join("\n"));
    let table = |text: &str| format!("model.quantization={{{text}}}");
    for (config, settings, parts) in [
        ("alone.toml", vec![], &["`model.quantization`", "model.lora"][..]),
        ("qlora.toml", vec![table("load_in_4bit = true, load_in_8bit = true")], &["only one of"]),
        ("qlora.toml", vec![table("bnb_4bit_quant_type = \"nf4\"")], &["load_in_4bit"]),
        ("qlora.toml", vec![table("load_in_4bit = true, bnb_4bit_quant_type = \"nf5\"")], &["nf4"]),
        ("qlora.toml", vec![table("use_4bit = true")], &["did you mean `load_in_4bit`?"]),
    ] {
        let mut args = vec!["train", config, "--out", "run"];
        for setting in &settings {
            args.extend(["--set", setting]);
        }
        let output = place.rappel(&args);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{settings:?}: {told}");
        assert!(parts.iter().all(|part| told.contains(part)), "{settings:?}: {told}");
        assert!(!place.at("run").exists(), "{settings:?}");
    }
    let told = place.error(&["convert", "base", "--to", "other", "--dtype", "nf3"]);
    assert!(told.contains("nf4") && !place.at("other").exists(), "{told}");
}
