//! Training that begins at a pretrained model: its files, what is frozen, resumed runs, GGUF files.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Place, testdata};
use rappel_tensor::TensorFile;

const FINETUNE: &str = r#"
seed = 3

[data]
files = ["corpus.txt"]
sequence_length = 16
validation_fraction = 0.1

[model]
pretrained = "base"

[optimizer]
name = "adamw"
lr = 1e-3

[train]
steps = 12
batch_size = 4
log_every = 1

[checkpoint]
every = 4

[sample]
max_tokens = 8
"#;

fn gguf(case: &str) -> PathBuf {
    testdata(format!("gguf/{case}.gguf"))
}

/// A folder with a small Llama `base`, with files that tools look for beside it, and a config that begins at it.
fn place() -> Place {
    let place = Place::new();
    place.ok(&["convert", gguf("smollm").to_str().unwrap(), "--to", "base"]);
    place.write("base/generation_config.json", r#"{"temperature": 0.6}"#);
    place.write("base/LICENSE", "terms");
    place.write("finetune.toml", FINETUNE);
    place
}

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    common::train("finetune.toml", out, more)
}

fn tensors(path: PathBuf) -> Vec<(String, Vec<f32>)> {
    let file = TensorFile::open(path).unwrap();
    let tensor = |name: String| (name.clone(), file.tensor(&name).unwrap().to_vec());
    file.names().into_iter().map(tensor).collect()
}

#[test]
fn a_model_is_trained_further_and_keeps_its_files() {
    let place = place();
    let before = place.json(&["eval", "--model", "base", "--file", "corpus.txt", "--json"]);
    let told = place.ok(&train("run", &["train.steps=40"]));
    assert!(told.contains("validation"), "{told}");
    let after = place.json(&["eval", "--model", "run", "--file", "corpus.txt", "--json"]);
    let loss = |told: &serde_json::Value| told["loss"].as_f64().unwrap();
    assert!(loss(&after) < loss(&before) - 0.5, "{before} {after}");
    for name in ["tokenizer_config.json", "generation_config.json", "LICENSE"] {
        let [base, model] = ["base", "run/model"].map(|of| place.read(&format!("{of}/{name}")));
        assert_eq!(base, model, "{name}");
    }
    let config: serde_json::Value =
        serde_json::from_str(&place.read("run/model/config.json")).unwrap();
    assert_eq!(config["model_type"], "llama");
    assert_eq!(config["bos_token_id"], 519);
    place.ok(&["generate", "--model", "run", "--prompt", "let x", "--max-tokens", "4"]);
    // What was trained can be trained further, by the run's folder.
    place.ok(&train("more", &["model.pretrained=run", "train.steps=2"]));
}

#[test]
fn frozen_parameters_stay_and_take_no_memory_of_the_optimizer() {
    let place = place();
    let freeze = "model.freeze=[\"model.embed_tokens.*\", \"model.layers.0.*\"]";
    place.ok(&train("run", &[freeze]));
    let before = tensors(place.at("base/model.safetensors"));
    let after = tensors(place.at("run/model/model.safetensors"));
    assert_eq!(before.len(), after.len());
    let is_frozen =
        |name: &str| name.starts_with("model.embed_tokens.") || name.starts_with("model.layers.0.");
    for ((name, before), (other, after)) in before.iter().zip(&after) {
        assert_eq!(name, other);
        assert_eq!(before == after, is_frozen(name), "{name}");
    }
    let state =
        TensorFile::open(place.at("run/checkpoints/step-12/optimizer.safetensors")).unwrap();
    let names = state.names();
    assert!(names.iter().any(|name| name.contains("model.layers.1.")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("model.layers.0.")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("embed_tokens")), "{names:?}");
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let place = place();
    let settings = ["checkpoint.every=1", "train.steps=40", "model.freeze=[\"*norm*\"]"];
    place.ok(&train("whole", &settings));
    let whole = place.model("whole");
    for i in 0..4 {
        let run = format!("run-{i}");
        place.kill_and_resume(&run, "2", &train(&run, &settings), 2 + i);
        assert_eq!(place.model(&run), whole, "killed as number {i}");
    }
}

#[test]
fn a_run_holds_on_to_the_model_that_it_began_at() {
    let place = place();
    place.ok(&train("run", &[]));
    let config = place.read("run/config.toml");
    let line = |key: &str| {
        let found = config.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        found.unwrap_or_else(|| panic!("no {key} in {config}")).trim_matches('"').to_owned()
    };
    assert_eq!(line("pretrained"), place.at("base").to_str().unwrap());
    let hash = line("sha256");
    assert_eq!(hash.len(), 64);
    // By hand: the hash of what sha256sum prints of the files.
    let lines: String = ["config.json", "model.safetensors", "tokenizer.json"]
        .map(|name| {
            let bytes = fs::read(place.at("base").join(name)).unwrap();
            format!("{}  {name}\n", rappel_testkit::hex_sha256(&bytes))
        })
        .concat();
    assert_eq!(hash, rappel_testkit::hex_sha256(lines.as_bytes()));

    // Elsewhere it is the same model; another one is refused.
    fs::rename(place.at("base"), place.at("moved")).unwrap();
    let more = ["--set", "train.steps=14", "--set", "model.pretrained=moved"];
    place.ok(&[&["train", "--resume", "run"][..], &more].concat());
    place.ok(&["convert", gguf("llama").to_str().unwrap(), "--to", "base"]);
    let more = ["--set", "train.steps=16", "--set", "model.pretrained=base"];
    let told = place.error(&[&["train", "--resume", "run"][..], &more].concat());
    assert!(told.contains("model.sha256") && told.contains(&hash), "{told}");
}

#[test]
fn training_begins_at_a_gguf_file() {
    for case in ["llama", "qwen2", "qwen3", "gemma3", "phi3"] {
        let place = Place::new();
        place.write("finetune.toml", FINETUNE);
        let base = format!("model.pretrained={}", gguf(case).display());
        place.ok(&train("run", &[&base, "train.steps=3"]));
        let told = place.json(&["inspect", "run", "--json"]);
        let inspected = place.json(&["inspect", gguf(case).to_str().unwrap(), "--json"]);
        for key in ["model", "parameters", "tokenizer", "chat_template", "vocab_size"] {
            assert_eq!(told[key], inspected[key], "{case}: {key}");
        }
        assert!(told["chat_template"].as_str().unwrap().contains("messages"));
        place.ok(&["convert", "run", "--to", "out.gguf", "--dtype", "q8_0"]);
        let [model, file] = ["run", "out.gguf"].map(|model| {
            place.json(&["eval", "--model", model, "--file", "corpus.txt", "--json"])["loss"]
                .as_f64()
                .unwrap()
        });
        assert!((model - file).abs() < 0.1, "{case}: {model} {file}");
    }
}

#[test]
fn a_gguf_file_generates_evaluates_and_is_inspected() {
    let place = Place::new();
    let (path, file) = (gguf("llama"), "corpus.txt");
    let path = path.to_str().unwrap();
    let text = place.ok(&["generate", "--model", path, "--prompt", "fn", "--max-tokens", "5"]);
    assert!(text.starts_with("fn"), "{text}");
    let told = place.json(&["eval", "--model", path, "--file", file, "--json"]);
    assert!(told["loss"].as_f64().unwrap() > 1.0);
    let told = place.json(&["inspect", path, "--json"]);
    assert_eq!(told["model"], "llama");
    let tensors = told["tensors"].as_array().unwrap();
    let stored = |name: &str| {
        let found = tensors.iter().find(|tensor| tensor["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {tensors:?}"))["stored"].clone()
    };
    assert_eq!(stored("model.layers.*.self_attn.q_proj.weight"), "Q8_0");
    assert_eq!(stored("model.norm.weight"), "F32");
    let inference = told["inference_bytes"].as_u64().unwrap();
    let training = |optimizer: &str| told["training_bytes"][optimizer].as_u64().unwrap();
    let parameters = told["parameters"].as_u64().unwrap();
    // Keys and values of 64 positions in 2 layers with 2 heads of 8 channels.
    assert_eq!(inference, 4 * parameters + 4 * 2 * 64 * 2 * 2 * 8);
    // Parameters and gradients, and none, one or two numbers of state for each.
    let taken = ["sgd", "lion", "adamw"].map(training);
    assert_eq!(taken, [8, 12, 16].map(|bytes| bytes * parameters));
    let text = place.ok(&["inspect", path]);
    for part in [
        "Q8_0",
        "template    ",
        "memory      ",
        "BPE, 520 tokens",
        "lars, lomo, sgd\n",
        ", adamw, ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_cannot_be_trained_further_says_why() {
    let place = place();
    let told = |more: &[&str]| {
        let told = place.error(&train("run", more));
        assert!(!place.at("run").exists());
        told
    };
    let missing = told(&["model.pretrained=nowhere"]);
    assert!(missing.contains("`model.pretrained`") && missing.contains("nowhere"), "{missing}");
    let pattern = told(&["model.freeze=[\"model.layer.0.*\"]"]);
    assert!(pattern.contains("`model.freeze`"), "{pattern}");
    assert!(pattern.contains("matches no parameter"), "{pattern}");
    let all = told(&["model.freeze=[\"*\"]"]);
    assert!(all.contains("leaves no parameter to train"), "{all}");
    let tokenizer = told(&["data.tokenizer=bpe"]);
    assert!(tokenizer.contains("`data.tokenizer`"), "{tokenizer}");
    let long = told(&["data.sequence_length=100"]);
    assert!(long.contains("64 positions"), "{long}");
    let form = told(&["regularize=[{name = 'weight_norm'}]"]);
    assert!(form.contains("weight_norm"), "{form}");
    let options = told(&["model.n_layer=3"]);
    assert!(options.contains("`model.n_layer`: unknown"), "{options}");
    let hash = told(&["model.sha256=00"]);
    assert!(hash.contains("`model.sha256`"), "{hash}");
    fs::remove_file(place.at("base/tokenizer.json")).unwrap();
    assert!(told(&[]).contains("tokenizer.json"));
}

/// Loading takes little more than the model: the weights are read into their place, piece by piece.
#[cfg(target_os = "linux")]
#[test]
fn loading_takes_a_quarter_more_than_the_model_at_most() {
    use std::io::Read;
    let place = Place::new();
    let sizes = [
        "model={name = 'llama', hidden_size = 768, num_hidden_layers = 5, num_attention_heads = 12, \
         intermediate_size = 3072, max_position_embeddings = 64, \
         tie_word_embeddings = true}",
        "train.steps=1",
        "train.batch_size=1",
        "data.validation_fraction=0.0",
        "optimizer.name=sgd",
        "schedule.name=constant",
        "sample.max_tokens=0",
    ];
    let mut args = vec!["train", "tiny.toml", "--out", "run"];
    for setting in sizes {
        args.extend(["--set", setting]);
    }
    place.ok(&args);
    place.ok(&["convert", "run", "--to", "half.gguf", "--dtype", "f16"]);
    let size = fs::metadata(place.at("run/model/model.safetensors")).unwrap().len() as f64;
    assert!(size > 150e6, "{size}");
    for model in ["run", "half.gguf"] {
        let args = ["generate", "--model", model, "--prompt", "let", "--max-tokens", "60"];
        let mut child = place.command(&args).spawn().unwrap();
        // The first text comes when all is read.
        let mut first = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak = peak.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0;
        assert!(peak < 1.25 * size, "{model}: {} of {size}", peak / size);
    }
}
