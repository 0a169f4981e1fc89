//! Adapters through the binary: trained, resumed, used, merged.

mod common;

use std::fs;

use common::{Place, sha256, stderr, testdata};
use rappel_tensor::TensorFile;
use serde_json::Value;

const LORA: &str = r#"
task = "sft"
seed = 5

[data]
files = ["rows.jsonl"]
assistant_only_loss = true
chat_template = "template.jinja"
eos_token = "<|endoftext|>"
validation_fraction = 0.2

[model]
pretrained = "base"
lora = { r = 4, lora_alpha = 8, lora_dropout = 0.1 }

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
    let place = Place::new();
    place.ok(&["convert", testdata("gguf/llama.gguf").to_str().unwrap(), "--to", "base"]);
    for name in ["rows.jsonl", "template.jinja"] {
        place.write(name, fs::read(testdata("sft").join(name)).unwrap());
    }
    place.write("lora.toml", LORA);
    place
}

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "lora.toml", "--out", out];
    for setting in more {
        args.extend(["--set", setting]);
    }
    args
}

fn adapter(place: &Place, run: &str) -> String {
    sha256(place.at(run).join("model/adapter_model.safetensors"))
}

#[test]
fn an_adapter_is_trained_alone_and_saved_as_peft_has_it() {
    let place = place();
    place.ok(&train("run", &[]));
    let found = place.recorded("run", "train/loss");
    assert!(found[29] < found[0] - 1.0, "{found:?}");
    let names = place.names("run/model");
    assert!(names.contains(&"adapter_config.json".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name == "model.safetensors" || name == "config.json"));
    let file = TensorFile::open(place.at("run/model/adapter_model.safetensors")).unwrap();
    let peft = TensorFile::open(testdata("lora/lora/adapter_model.safetensors")).unwrap();
    let sorted = |file: &TensorFile| {
        let mut names: Vec<String> = file.names().into_iter().collect();
        names.sort();
        names
    };
    assert_eq!(sorted(&file), sorted(&peft));
    let config: Value = serde_json::from_str(&place.read("run/model/adapter_config.json")).unwrap();
    assert_eq!(config["r"], 4);
    assert_eq!(config["target_modules"].as_array().unwrap().len(), 7);
    assert_eq!(config["base_model_name_or_path"], place.at("base").to_str().unwrap());
    let state = fs::read_dir(place.at("run/checkpoints")).unwrap().next().unwrap().unwrap();
    let state = TensorFile::open(state.path().join("optimizer.safetensors")).unwrap();
    assert!(state.names().iter().all(|name| name.contains("lora_")), "{:?}", state.names());
}

#[test]
fn a_killed_run_resumes_to_the_same_bits_on_any_number_of_threads() {
    let place = place();
    let settings = ["checkpoint.every=1", "model.lora.use_dora=true"];
    place.ok(&train("whole", &settings));
    let whole = adapter(&place, "whole");
    for (i, threads) in ["1", "2"].into_iter().enumerate() {
        let run = format!("run-{i}");
        place.kill_and_resume(&run, threads, &train(&run, &settings), 2 + i);
        assert_eq!(adapter(&place, &run), whole, "killed as number {i}");
    }
}

#[test]
fn adapters_generate_evaluate_and_merge() {
    let place = place();
    place.ok(&train("run", &[]));
    let eval = |more: &[&str]| {
        let args = [&["eval", "--file", "corpus.txt", "--json"][..], more].concat();
        place.json(&args)["loss"].as_f64().unwrap()
    };
    let with = eval(&["--model", "base", "--adapter", "run"]);
    assert_eq!(eval(&["--model", "run"]), with);
    assert!((eval(&["--model", "base"]) - with).abs() > 0.01);
    let told =
        place.json(&["merge", "--model", "base", "--adapter", "run", "--out", "merged", "--json"]);
    assert!(told["largest_difference"].as_f64().unwrap() < 1e-4, "{told}");
    assert_eq!(told["same_likeliest"], told["compared"]);
    assert!((eval(&["--model", "merged"]) - with).abs() < 1e-4);
    assert_eq!(place.read("merged/chat_template.jinja"), place.read("template.jinja"));
    let text = |model: &[&str]| {
        let more = ["--prompt", "let x", "--max-tokens", "6", "--greedy"];
        place.ok(&[&["generate"], model, &more[..]].concat())
    };
    let merged = text(&["--model", "merged"]);
    assert_eq!(text(&["--model", "base", "--adapter", "run"]), merged);
    assert_eq!(text(&["--model", "run"]), merged);
    fs::rename(place.at("base"), place.at("gone")).unwrap();
    let told = place.error(&["generate", "--model", "run"]);
    assert!(told.contains("--adapter") && told.contains("base"), "{told}");
}

#[test]
fn what_cannot_be_adapted_says_why() {
    let place = place();
    for (setting, parts) in [
        (
            "model.lora.target_modules=[\"q_prj\"]",
            &["`model.lora.target_modules`", "q_prj", "q_proj"][..],
        ),
        ("model.lora.modules_to_save=[\"lm_head\"]", &["`model.lora.modules_to_save`", "tied"]),
        ("model.lora.layers_to_transform=[7]", &["`model.lora.layers_to_transform`"]),
        ("model.lora.rank_pattern={q_proj = 0}", &["`model.lora.rank_pattern`", "at least 1"]),
        ("model.lora.rank=4", &["did you mean `r`?"]),
        ("model.freeze=[\"*\"]", &["`model.freeze`", "lora"]),
    ] {
        let output = place.rappel(&train("run", &[setting]));
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{setting}: {told}");
        assert!(parts.iter().all(|part| told.contains(part)), "{setting}: {told}");
        assert!(!place.at("run").exists(), "{setting}");
    }
}

#[test]
fn rows_are_shown_as_they_are_trained() {
    let place = place();
    let told = place.ok(&["data", "lora.toml"]);
    assert!(told.contains("8 to train on, 2 to validate, 0 left out, 0 duplicates"), "{told}");
    assert!(told.contains("<assistant>[[ x") && told.contains("<|endoftext|>]]"), "{told}");
    let one = ["data", "lora.toml", "--set", "data.validation_fraction=0.0", "--row", "2"];
    let told = place.ok(&one);
    let expected = "rows.jsonl, line 2: 51 tokens, 12 trained\n<user> let x1 = 1;\n<assistant>[[ x1 + 1<|endoftext|>]]\n\
                    <user> fn main\n<assistant>[[ (1) {}<|endoftext|>]]\n";
    assert!(told.ends_with(expected), "{told}");
    let told = place.json(&[&one[..], &["--json"]].concat());
    assert_eq!(told["place"], "line 2");
    assert_eq!(told["tokens"].as_array().unwrap().len(), 51);
    let packed = ["data", "lora.toml", "--stats", "--json", "--set", "data.packing=true"];
    let told = place.json(&packed);
    assert_eq!(told["rows"], 8);
    assert!(told["packing_efficiency"].as_f64().unwrap() > 0.5, "{told}");
    let bars = told["lengths"]["histogram"].as_array().unwrap();
    assert_eq!(bars.iter().map(|bar| bar[2].as_u64().unwrap()).sum::<u64>(), 8);
    let told = place.error(&["data", "tiny.toml"]);
    assert!(told.contains("`task`") && told.contains("sft"), "{told}");
    let told = place.error(&["data", "lora.toml", "--row", "9"]);
    assert!(told.contains("there are 8 rows"), "{told}");
}

/// The tensors of a checkpoint's parameters.
fn saved(place: &Place, run: &str, step: u64) -> Vec<String> {
    let path = place.at(run).join(format!("checkpoints/step-{step}/params.safetensors"));
    TensorFile::open(path).unwrap().names()
}

#[test]
fn checkpoints_do_without_what_stays_as_the_pretrained_model_has_it() {
    let place = place();
    place.ok(&train("run", &["train.steps=6", "checkpoint.every=3", "checkpoint.keep=9"]));
    let names = saved(&place, "run", 6);
    assert_eq!(names.len(), 28);
    assert!(names.iter().all(|name| name.contains(".lora_")), "{names:?}");
    // Another run begins there, whose model is the same.
    place.ok(&["train", "lora.toml", "--from", "run/checkpoints/step-3", "--out", "more"]);
    assert_eq!(saved(&place, "more", 30), names);
    // What is frozen without an adapter is not there, either.
    let frozen = ["model.freeze=[\"model.embed_tokens.*\"]", "train.steps=2"];
    let full = place.read("lora.toml").replace("lora = {", "# lora = {");
    place.write("full.toml", full);
    let args = ["train", "full.toml", "--out", "full", "--set", frozen[0], "--set", frozen[1]];
    place.ok(&args);
    let kept = saved(&place, "full", 2);
    assert!(kept.contains(&"model.norm.weight".to_owned()), "{kept:?}");
    assert!(!kept.iter().any(|name| name.contains("embed_tokens")), "{kept:?}");
}

#[test]
fn a_checkpoint_is_of_one_pretrained_model() {
    let place = place();
    let args = train("run", &["train.steps=4", "checkpoint.every=1", "checkpoint.keep=9"]);
    place.ok(&args);
    // The same names and shapes with other numbers.
    place.ok(&train("other", &["train.steps=1", "optimizer.lr=1.0"]));
    place.ok(&["merge", "--model", "base", "--adapter", "other", "--out", "changed"]);
    let from = ["train", "lora.toml", "--from", "run/checkpoints/step-2", "--out", "more"];
    let told = place.error(&[&from[..], &["--set", "model.pretrained=changed"]].concat());
    assert!(told.contains("step-2 holds what was trained of the pretrained model"), "{told}");
    assert!(!place.at("more").exists());
    for step in [3, 4] {
        fs::remove_dir_all(place.at(format!("run/checkpoints/step-{step}"))).unwrap();
    }
    fs::remove_dir_all(place.at("run/model")).unwrap();
    let (base, kept) = (place.at("base/model.safetensors"), place.at("kept"));
    fs::rename(&base, &kept).unwrap();
    fs::copy(place.at("changed/model.safetensors"), &base).unwrap();
    let told = place.error(&["train", "--resume", "run"]);
    assert!(told.contains("is not the model that the run begins at"), "{told}");
    fs::rename(&kept, &base).unwrap();
    place.ok(&["train", "--resume", "run"]);
    assert!(place.at("run/model/adapter_model.safetensors").exists());
}
