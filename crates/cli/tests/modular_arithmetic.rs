//! The task `modular_arithmetic` through the binary.

mod common;

use std::fs;

use common::{Place, stderr};
use serde_json::Value;

const CONFIG: &str = r#"
task = "modular_arithmetic"
data = { modulus = 7 }
optimizer = { name = "adamw", lr = 1e-2, weight_decay = 0.3 }
checkpoint = { every = 20 }

[model]
name = "gpt2"
n_layer = 1
n_head = 2
n_embd = 32
n_positions = 3
dropout = 0.1

[train]
steps = 60
batch_size = 16
gradient_accumulation_steps = 2
eval_every = 20
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("table.toml", CONFIG);
    place
}

fn train<'a>(run: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    [&common::train("table.toml", run, settings)[..], &["--json"]].concat()
}

#[test]
fn speed_is_told_in_pairs() {
    let place = place();
    let told = stderr(&place.rappel(&train("run", &["train.steps=4"])));
    assert!(told.contains(" pairs/s\n") && !told.contains("token"), "{told}");
    let record = place.read("run/metrics.jsonl");
    assert!(record.contains("train/pairs_per_second") && !record.contains("token"), "{record}");
}

#[test]
fn the_table_is_learned_by_heart_and_accuracy_is_told() {
    let place = place();
    let told = place.json(&train("run", &[]));
    assert!(told["train_loss"].as_f64().unwrap() < 1.5, "{told}");
    assert!((told["chance_loss"].as_f64().unwrap() - 7_f64.ln()).abs() < 1e-12);
    assert_eq!(told["sample"].as_str().unwrap().lines().count(), 4);
    let record = place.read("run/metrics.jsonl");
    let of = |line: &str| -> Option<(u64, f64)> {
        let line: Value = serde_json::from_str(line).unwrap();
        Some((line["step"].as_u64()?, line["validation/accuracy"].as_f64()?))
    };
    let accuracy: Vec<_> = record.lines().filter_map(of).collect();
    assert_eq!(accuracy.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [20, 40, 60]);
    assert!(accuracy.iter().all(|(_, share)| (0.0..=1.0).contains(share)), "{accuracy:?}");
    assert_eq!(told["validation_accuracy"], accuracy[2].1);
}

#[test]
fn a_resumed_run_comes_to_the_same_bits() {
    let place = place();
    place.ok(&train("run", &["checkpoint.keep=9"]));
    let model = place.model("run");
    for step in ["step-40", "step-60"] {
        fs::remove_dir_all(place.at("run/checkpoints").join(step)).unwrap();
    }
    place.ok(&["train", "--resume", "run"]);
    assert_eq!(place.model("run"), model);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let place = place();
    for (setting, expected) in [
        ("model.n_positions=2", "`model.n_positions`: `a b =` takes 3 positions"),
        ("data={ modulus = 8, operation = \"/\" }", "`data.modulus`: 8 is not prime"),
        ("data.train_fraction=1", "`data.train_fraction`: 1 is out of range"),
        ("data.tokenizer=\"bpe\"", "`data.tokenizer`: unknown"),
        ("model.vocab_size=5", "`model.vocab_size`"),
    ] {
        let told = place.error(&train("run", &[setting]));
        assert!(told.contains(expected), "{setting}: {told}");
        assert!(!place.at("run").exists(), "{setting}");
    }
}
