//! Supervised fine-tuning through the binary, against transformers, resumed, packed.

mod common;

use std::fs;

use common::{Place, testdata};
use serde_json::Value;

const SFT: &str = r#"
task = "sft"

[data]
files = ["rows.jsonl"]
assistant_only_loss = true
chat_template = "template.jinja"
eos_token = "<|endoftext|>"
validation_fraction = 0.0
shuffle = false

[model]
pretrained = "base"

[optimizer]
name = "adamw"
lr = 1e-3
weight_decay = 0.0

[train]
steps = 6
batch_size = 2
gradient_accumulation_steps = 2
max_grad_norm = 0.0
log_every = 1
"#;

/// A folder with a small Llama `base`, conversations and their template.
fn place() -> Place {
    let place = Place::with_llama();
    place.write("base/LICENSE", "terms");
    place.write("sft.toml", SFT);
    place
}

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    common::train("sft.toml", out, more)
}

#[track_caller]
fn assert_near(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= tolerance * want.abs(), "{got}, not {want}");
    }
}

#[test]
fn losses_and_gradients_are_those_of_transformers() {
    let golden: Value =
        serde_json::from_slice(&fs::read(testdata("sft/golden.json")).unwrap()).unwrap();
    let column = |i: usize| -> Vec<f64> {
        golden["steps"].as_array().unwrap().iter().map(|step| step[i].as_f64().unwrap()).collect()
    };
    let place = place();
    place.ok(&train("run", &["data.validation_files=[\"rows.jsonl\"]"]));
    assert_near(&place.recorded("run", "train/loss"), &column(0), 1e-4);
    assert_near(&place.recorded("run", "train/grad_norm"), &column(1), 1e-4);
    let validation = |key: &str| place.recorded("run", &format!("validation/{key}"));
    let wanted: Vec<f64> = golden["validation"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect();
    assert_near(&validation("loss"), &wanted[..1], 1e-4);
    assert_near(&validation("token_accuracy"), &wanted[1..], 1e-12);
    // Whichever rows share a forward pass, the step is the same.
    place.ok(&train("one", &["train.batch_size=4", "train.gradient_accumulation_steps=1"]));
    assert_near(&place.recorded("one", "train/loss"), &column(0), 1e-4);
}

#[test]
fn the_model_keeps_its_files_and_speaks_its_template() {
    let place = place();
    let told = place.said(&train("run", &["data.validation_fraction=0.2", "train.steps=40"]));
    assert!(told.contains("8 rows, ") && told.contains("tokens trained"), "{told}");
    let losses = place.recorded("run", "train/loss");
    assert!(losses[39] < losses[0] - 2.0, "{losses:?}");
    assert_eq!(place.read("run/model/LICENSE"), "terms");
    assert_eq!(place.read("run/model/chat_template.jinja"), place.read("template.jinja"));
    let config: Value = serde_json::from_str(&place.read("run/model/config.json")).unwrap();
    assert_eq!(config["eos_token_id"], 511);
    place.ok(&["generate", "--model", "run", "--prompt", "let x", "--max-tokens", "4"]);
}

#[test]
fn a_killed_run_resumes_to_the_same_bits_on_any_number_of_threads() {
    let place = place();
    let settings =
        ["checkpoint.every=1", "train.steps=40", "data.packing=true", "data.shuffle=true"];
    place.ok(&train("whole", &settings));
    let whole = place.model("whole");
    for (i, threads) in ["1", "2", "2"].into_iter().enumerate() {
        let run = format!("run-{i}");
        place.kill_and_resume(&run, threads, &train(&run, &settings), 2 + i);
        assert_eq!(place.model(&run), whole, "killed as number {i}");
    }
}

#[test]
fn packed_rows_lose_what_they_lose_alone() {
    let place = place();
    let all =
        ["train.batch_size=\"all\"", "train.gradient_accumulation_steps=1", "model.dtype=f64"];
    for strategy in ["bfd", "bfd_split"] {
        let apart = format!("apart-{strategy}");
        place.ok(&train(&apart, &all));
        let run = format!("packed-{strategy}");
        let name = format!("data.packing_strategy={strategy}");
        let told = place.said(&train(&run, &[&all[..], &["data.packing=true", &name]].concat()));
        assert!(told.contains("10 rows, ") && told.contains(", packed into 8 samples"), "{told}");
        for key in ["train/loss", "train/grad_norm"] {
            assert_near(&place.recorded(&run, key), &place.recorded(&apart, key), 1e-10);
        }
    }
}

#[test]
fn what_cannot_be_tuned_says_why() {
    let place = place();
    let told = |more: &[&str]| {
        let told = place.error(&train("run", more));
        assert!(!place.at("run").exists());
        told
    };
    let unfamiliar = told(&["data.cutoff_len=32"]);
    assert!(
        unfamiliar.contains("`data.cutoff_len`: unknown; did you mean `max_length`?"),
        "{unfamiliar}"
    );
    let long = told(&["data.max_length=100"]);
    assert!(long.contains("`data.max_length`") && long.contains("64 positions"), "{long}");
    let ends = told(&["data.eos_token=\"<|end|>\""]);
    assert!(ends.contains("no token `<|end|>`"), "{ends}");
    let mixed = told(&["regularize=[{name = 'mixup'}]"]);
    assert!(mixed.contains("cannot be mixed"), "{mixed}");
    place.write("more.jsonl", "{\"messages\": []}\n");
    let empty = told(&["data.files=[\"rows.jsonl\", \"more.jsonl\"]"]);
    assert!(empty.contains("more.jsonl, line 1: the conversation has no messages"), "{empty}");
    let fresh = SFT.replace("pretrained = \"base\"", "name = \"gpt2\"");
    place.write("sft.toml", fresh);
    assert!(told(&[]).contains("model.pretrained"));
}
