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
    let place = Place::with_llama();
    place.write("lora.toml", LORA);
    place
}

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    common::train("lora.toml", out, more)
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

/// The tensors of a run's adapter.
fn tensors(place: &Place, run: &str) -> TensorFile {
    TensorFile::open(place.at(run).join("model/adapter_model.safetensors")).unwrap()
}

fn eval(place: &Place, more: &[&str]) -> f64 {
    let args = [&["eval", "--file", "corpus.txt", "--json"][..], more].concat();
    place.json(&args)["loss"].as_f64().unwrap()
}

#[test]
fn the_second_matrices_learn_at_a_rate_of_their_own() {
    let place = place();
    let settings = ["train.steps=1", "optimizer.name=sgd", "optimizer.lr=0.01"];
    place.ok(&train("plain", &settings));
    let ratio = [&settings[..], &["model.lora.loraplus_lr_ratio=16"]].concat();
    place.ok(&train("ratio", &ratio));
    let (plain, ratio) = (tensors(&place, "plain"), tensors(&place, "ratio"));
    for name in plain.names() {
        let [one, other] = [&plain, &ratio].map(|file| file.tensor(&name).unwrap().to_f64_vec());
        let factor = if name.contains("lora_B") { 16.0 } else { 1.0 };
        for (one, other) in one.iter().zip(&other) {
            assert!((factor * one - other).abs() <= 1e-5 * other.abs(), "{name}: {one}, {other}");
        }
        assert!(one.iter().any(|x| *x != 0.0), "{name}");
    }
}

#[test]
fn adapters_that_begin_as_a_part_of_their_weight_are_saved_as_the_difference() {
    let place = place();
    let golden = rappel_testkit::Golden::load("lora/expected");
    let base = eval(&place, &["--model", "base"]);
    for init in ["pissa", "olora"] {
        let begins = format!("model.lora.init_lora_weights={init}");
        let alpha = ["model.lora.lora_alpha=6", "checkpoint.every=1", &begins];
        let still = [&alpha[..], &["train.steps=1", "optimizer.lr=0.0"]].concat();
        place.ok(&train("still", &still));
        let file = tensors(&place, "still");
        for layer in ["self_attn.q_proj", "mlp.down_proj"] {
            let part = |part: &str, axis: usize| {
                let name = format!("base_model.model.model.layers.1.{layer}.lora_{part}.weight");
                let both = file.tensor(&name).unwrap();
                assert_eq!(both.size(axis), 8, "{name}");
                both.narrow(axis, 4, 4).contiguous()
            };
            let found = (part("B", 1).matmul(&part("A", 0)) * -1.0).to_f64_vec();
            let wanted = golden.f32(&format!("{init}.{layer}")).1;
            let largest = wanted.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            for (found, wanted) in found.iter().zip(&wanted) {
                let apart = (found - f64::from(*wanted)).abs();
                assert!(apart < 1e-3 * f64::from(largest), "{init} {layer}: {found}, {wanted}");
            }
        }
        // Nothing was learned, so nothing is added.
        assert!((eval(&place, &["--model", "still"]) - base).abs() < 1e-4, "{init}");
        place.ok(&train("whole", &alpha));
        let losses = place.recorded("whole", "train/loss");
        assert!(losses[29] < losses[0] - 1.0, "{init}: {losses:?}");
        place.kill_and_resume("run", "2", &train("run", &alpha), 3);
        assert_eq!(adapter(&place, "run"), adapter(&place, "whole"), "{init}");
        let told = place.json(&[
            "merge",
            "--model",
            "base",
            "--adapter",
            "run",
            "--out",
            "merged",
            "--json",
        ]);
        assert!(told["largest_difference"].as_f64().unwrap() < 1e-3, "{told}");
        for folder in ["still", "whole", "run", "merged"] {
            fs::remove_dir_all(place.at(folder)).unwrap();
        }
    }
}

#[test]
fn layers_are_named_by_an_expression() {
    let place = place();
    let one = r"model.lora.target_modules=model\.layers\.0\..*_proj";
    place.ok(&train("run", &["train.steps=2", one]));
    let names = tensors(&place, "run").names();
    assert_eq!(names.len(), 14, "{names:?}");
    assert!(names.iter().all(|name| name.contains("layers.0.")), "{names:?}");
    place.ok(&["train", "--resume", "run", "--set", "train.steps=3"]);
}

#[test]
fn training_continues_with_a_saved_adapter() {
    let place = place();
    place.ok(&train("first", &[]));
    let first = place.recorded("first", "train/loss");
    let from = "model.lora={adapter_name_or_path = \"first\"}";
    place.ok(&train("second", &["train.steps=10", from]));
    let second = place.recorded("second", "train/loss");
    assert!(second[0] < first[0] - 1.0, "{first:?}, then {second:?}");
    assert_eq!(tensors(&place, "second").names(), tensors(&place, "first").names());
    let other = "model.lora={adapter_name_or_path = \"first\", r = 16}";
    let told = stderr(&place.rappel(&train("third", &[other])));
    assert!(told.contains("`model.lora.r`") && told.contains("first"), "{told}");
    let gone = "model.lora={adapter_name_or_path = \"gone\"}";
    let told = stderr(&place.rappel(&train("third", &[gone])));
    assert!(told.contains("gone") && !place.at("third").exists(), "{told}");
}

#[test]
fn several_adapters_generate_together() {
    let place = place();
    place.ok(&train("one", &[]));
    place.ok(&train("two", &["train.steps=5", "seed=6"]));
    let text = |adapters: &[&str]| {
        let args = ["generate", "--model", "base", "--prompt", "let x", "--max-tokens", "6"];
        let given = adapters.iter().flat_map(|adapter| ["--adapter", *adapter]);
        place.json(&[&args[..], &["--greedy", "--json"], &given.collect::<Vec<_>>()].concat())
    };
    assert_eq!(text(&["one", "two"])["text"], text(&["two", "one"])["text"]);
    assert_ne!(text(&["one", "two"])["tokens"], text(&["one"])["tokens"]);
    place.ok(&train("dora", &["train.steps=1", "model.lora.use_dora=true"]));
    let args = ["generate", "--model", "base", "--adapter", "one", "--adapter", "dora"];
    let told = place.error(&args);
    assert!(told.contains("use_dora") && told.contains("rappel merge"), "{told}");
}

#[test]
fn gpt2_and_half_precision_and_whole_modules_are_trained() {
    let place = place();
    place.ok(&["convert", testdata("gguf/gpt2.gguf").to_str().unwrap(), "--to", "gpt2"]);
    let merged = |run: &str, base: &str| {
        let out = format!("merged-{run}");
        place.json(&["merge", "--model", base, "--adapter", run, "--out", &out, "--json"])
    };
    place.ok(&train("transposed", &["model.pretrained=gpt2"]));
    let config: Value =
        serde_json::from_str(&place.read("transposed/model/adapter_config.json")).unwrap();
    assert_eq!(config["fan_in_fan_out"], true);
    let told = merged("transposed", "gpt2");
    assert!(told["largest_difference"].as_f64().unwrap() < 1e-3, "{told}");
    let losses = place.recorded("transposed", "train/loss");
    assert!(losses[29] < losses[0] - 1.0, "{losses:?}");
    place.ok(&train("half", &["model.dtype=bf16"]));
    let file = tensors(&place, "half");
    assert!(file.names().iter().all(|name| file.stored_as(name).unwrap() == "F32"));
    let losses = place.recorded("half", "train/loss");
    assert!(losses[29] < losses[0] - 1.0, "{losses:?}");
    place.ok(&train("table", &["model.lora.modules_to_save=[\"embed_tokens\"]"]));
    let names = tensors(&place, "table").names();
    let whole = "base_model.model.model.embed_tokens.weight";
    assert!(names.iter().any(|name| name == whole), "{names:?}");
    let told = merged("table", "base");
    assert!(told["largest_difference"].as_f64().unwrap() < 1e-3, "{told}");
    let with = eval(&place, &["--model", "base", "--adapter", "table"]);
    assert!((eval(&place, &["--model", "merged-table"]) - with).abs() < 1e-4);
}

#[test]
fn adapters_in_gguf_files_are_the_change_of_the_merged_model() {
    use rappel_model::gguf::{GgufFile, MetaValue};
    let place = place();
    for (base, source, more) in [
        (
            "base",
            "llama",
            &["model.lora.use_rslora=true", "model.lora.rank_pattern={q_proj = 2}"][..],
        ),
        ("gpt2", "gpt2", &["model.pretrained=gpt2"]),
    ] {
        if base != "base" {
            let file = testdata(format!("gguf/{source}.gguf"));
            place.ok(&["convert", file.to_str().unwrap(), "--to", base]);
        }
        let [run, merged, adapter] =
            ["run", "merged", "adapter.gguf"].map(|end| format!("{base}-{end}"));
        place.ok(&train(&run, &[&["train.steps=5"][..], more].concat()));
        place.ok(&["merge", "--model", base, "--adapter", &run, "--out", &merged]);
        place.ok(&["convert", &run, "--to", &adapter]);
        for model in [base, &merged] {
            place.ok(&["convert", model, "--to", &format!("{model}.gguf"), "--dtype", "F32"]);
        }
        let open = |name: &str| GgufFile::open(place.at(format!("{name}.gguf"))).unwrap();
        let (before, after) = (open(base), open(&merged));
        let file = GgufFile::open(place.at(&adapter)).unwrap();
        let text = |key: &str| file.metadata().text(key).unwrap().to_owned();
        assert_eq!((text("general.type"), text("adapter.type")), ("adapter".into(), "lora".into()));
        assert_eq!(text("general.architecture"), source);
        let Some(MetaValue::Float(alpha)) = file.metadata().get("adapter.lora.alpha") else {
            panic!("{:?}", file.metadata())
        };
        let read = |file: &GgufFile, name: &str| {
            let shape = file.tensors()[name].shape;
            let mut numbers = vec![0.0_f32; shape.count()];
            file.read_into(name, &mut numbers);
            rappel_tensor::Tensor::from_slice(&numbers, shape)
        };
        let mut compared = 0;
        for name in before.tensors().keys() {
            let change = read(&after, name) - read(&before, name);
            let largest =
                change.to_f64_vec().into_iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            if !file.tensors().contains_key(&format!("{name}.lora_a")) {
                assert_eq!(largest, 0.0, "{name}");
                continue;
            }
            let [a, b] = ["a", "b"].map(|part| read(&file, &format!("{name}.lora_{part}")));
            let found = b.matmul(&a) * (alpha / a.size(0) as f64) - change;
            for apart in found.to_f64_vec() {
                assert!(apart.abs() < 1e-4 * largest.max(1e-3), "{name}: {apart} of {largest}");
            }
            compared += 1;
        }
        assert_eq!(2 * compared, file.tensors().len());
    }
    let told = place.error(&["convert", "gpt2-run", "--to", "folder"]);
    assert!(told.contains("rappel merge"), "{told}");
}
