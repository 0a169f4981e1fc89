//! Files and configs whose numbers are out of proportion, and models of NaN: refused, and told why.

mod common;

use std::fs;
use std::process::Command;

use common::{Place, stderr};

const TABLE: &str = "task = 'regression'\n[data]\nfile = 'rows.csv'\ntarget = 'y'\n\
    [model]\nname = 'mlp'\nhidden_sizes = [4]\n[optimizer]\nname = 'adam'\nlr = 0.01\n\
    [train]\nsteps = 2\nbatch_size = 8\n";

fn table() -> Place {
    let place = Place::new();
    let rows: Vec<String> = (0..40).map(|i| format!("{},{}\n", i % 7, i)).collect();
    place.write("rows.csv", format!("x,y\n{}", rows.concat()));
    place.write("table.toml", TABLE);
    place
}

const PREDICT: [&str; 7] =
    ["predict", "--model", "m/model", "--file", "rows.csv", "--out", "told.csv"];

#[test]
#[cfg(target_os = "linux")]
fn a_vocabulary_out_of_proportion_is_refused_before_it_is_allocated() {
    let place = Place::new();
    place.ok(&["train", "tiny.toml", "--out", "m", "--set", "train.steps=5"]);
    let path = "m/model/tokenizer.json";
    let json = place.read(path);
    assert_eq!(json.matches(": 255").count(), 1, "the last byte");
    place.write(path, json.replace(": 255", ": 4294967295"));
    place.write("tiny.txt", "let x = 1;\n");
    let script = "ulimit -v 2000000 && exec \"$0\" eval --model m/model --file tiny.txt";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_rappel")])
        .current_dir(place.at(""))
        .output()
        .unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("tokenizer.json: has the id 4294967295, but only"), "{told}");
}

#[test]
fn sizes_that_wrap_or_overflow_are_refused() {
    let place = table();
    place.ok(&["train", "table.toml", "--out", "m"]);
    let config = place.read("m/model/config.json");
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    // 137 GB; a product that wraps to 0.
    for (sizes, wanted) in [
        (serde_json::json!([131_072, 131_072]), "has shape"),
        (serde_json::json!([4_294_967_296_u64, 4_294_967_296_u64]), "model.safetensors"),
    ] {
        let mut config = config.clone();
        config["hidden_sizes"] = sizes;
        place.write("m/model/config.json", config.to_string());
        let told = place.error(&PREDICT);
        assert!(told.contains(wanted) || told.contains("parameters, at most"), "{told}");
    }
    for (setting, wanted) in [
        ("model.hidden_sizes=[4294967296,4294967296]", "make them smaller"),
        ("train.gradient_accumulation_steps=4611686018427387904", "integer in [1, 1000000]"),
        ("data.features=[]", "is an empty list"),
        ("regularize=[{name=\"l2\",lambda=0.1,params=[]}]", "is an empty list"),
        ("regularize=[{name=\"weight_norm\",params=[]}]", "is an empty list"),
        ("optimizer.groups=[{params=[],lr=0.1}]", "is an empty list"),
        ("average={name=\"latest\",k=4611686018427387904}", "integer in [1, 1000]"),
    ] {
        let told = place.error(&["train", "table.toml", "--out", "n", "--set", setting]);
        assert!(told.contains(wanted), "{setting}: {told}");
        assert!(!place.at("n").exists());
    }
}

#[test]
fn a_preprocessing_that_encodes_nothing_is_refused() {
    let place = table();
    place.ok(&["train", "table.toml", "--out", "m"]);
    let path = "m/model/preprocessing.json";
    let json: serde_json::Value = serde_json::from_str(&place.read(path)).unwrap();
    let mut empty = json.clone();
    empty["features"] = serde_json::json!([]);
    place.write(path, empty.to_string());
    assert!(place.error(&PREDICT).contains("`features` is empty"));
    let mut classes = json;
    classes["target"]["of"] = serde_json::json!({ "kind": "classes", "classes": [] });
    place.write(path, classes.to_string());
    assert!(place.error(&PREDICT).contains("0 classes"));
}

/// Puts NaN where the last value of a file of tensors is.
fn spoil(place: &Place, path: &str) {
    let mut bytes = fs::read(place.at(path)).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write(path, bytes);
}

#[test]
fn a_model_of_nan_is_refused_by_every_command() {
    let place = table();
    place.ok(&["train", "table.toml", "--out", "m"]);
    place.ok(&["train", "tiny.toml", "--out", "t", "--set", "train.steps=5"]);
    spoil(&place, "m/model/model.safetensors");
    spoil(&place, "t/model/model.safetensors");
    for args in [
        &PREDICT[..],
        &["eval", "--model", "m/model", "--file", "rows.csv", "--json"],
        &["eval", "--model", "t/model", "--file", "corpus.txt"],
        &["generate", "--model", "t/model", "--prompt", "let"],
    ] {
        let told = place.error(args);
        assert!(told.contains("/model: the parameter ") && told.contains(" is NaN at "), "{told}");
    }
    assert!(!place.at("told.csv").exists());
}

#[test]
fn a_metric_that_is_no_number_is_null() {
    let place = table();
    let set = ["--set", "task=classification", "--set", "data.target=c"];
    let row = |i: usize| format!("{},{}\n", i % 7, ["a", "b"][i % 2]);
    let rows: Vec<String> = (0..40).map(row).collect();
    place.write("rows.csv", format!("x,c\n{}", rows.concat()));
    place.ok(&[&["train", "table.toml", "--out", "m"], &set[..]].concat());
    // The area under a curve that has no negatives.
    place.write("one.csv", "x,c\n1,b\n2,b\n");
    let scores = place.json(&["eval", "--model", "m/model", "--file", "one.csv", "--json"]);
    assert!(scores["auc"].is_null(), "{scores}");
    assert!(scores["accuracy"].is_number(), "{scores}");
    let one = ["--set", "data.validation_file=one.csv", "--json"];
    let report = place.json(&[&["train", "table.toml", "--out", "n"], &set[..], &one].concat());
    assert!(
        report["validation_auc"].is_null() && report["validation_loss"].is_number(),
        "{report}"
    );
}

#[test]
fn temperature_zero_is_greedy_and_options_come_before_the_prompt() {
    let place = Place::new();
    place.ok(&["train", "tiny.toml", "--out", "t", "--set", "sample.temperature=0"]);
    let generate = ["generate", "--model", "t/model", "--prompt", "let x", "--max-tokens", "12"];
    let with = |more: &[&str]| place.rappel(&[&generate, more].concat());
    let [greedy, zero] = [&["--greedy"][..], &["--temperature", "0", "--seed", "5"]].map(with);
    assert!(zero.status.success(), "{}", stderr(&zero));
    assert_eq!(greedy.stdout, zero.stdout);
    for wrong in ["--top-p=2", "--temperature=-1", "--top-k=0"] {
        let output = with(&[wrong]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "{wrong}");
    }
    let long = "let x1 = 1;\n".repeat(100);
    let output = place.rappel(&["generate", "--model", "t/model", "--prompt", &long]);
    assert!(output.stdout.is_empty() && stderr(&output).contains("shorten it"));
}
