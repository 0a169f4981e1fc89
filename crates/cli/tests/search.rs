//! Optimizers that evaluate the loss several times in a step, trained through the binary.

mod common;

use common::Place;
use serde_json::Value;

const SEARCH: [&str; 12] = [
    "--set",
    "optimizer={ name = \"lbfgs\", line_search_fn = \"strong_wolfe\", max_iter = 4, history_size = 6 }",
    "--set",
    "train.max_grad_norm=0",
    "--set",
    "train.steps=12",
    "--set",
    "schedule.warmup_steps=0",
    "--set",
    "schedule.name=constant_with_warmup",
    "--set",
    "checkpoint.every=5",
];

const SHARP: [&str; 2] =
    ["--set", "optimizer={ name = \"adamw\", lr = 0.01, sam = { rho = 0.05, adaptive = false } }"];

fn losses(place: &Place, run: &str) -> Vec<f64> {
    let text = place.read(&format!("{run}/metrics.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["train/loss"].as_f64()).collect()
}

/// Trains, and again from the checkpoint in the middle: the same model, bit for bit.
fn trains_and_resumes(settings: &[&str], checkpoint: &str, last: &str) -> Vec<f64> {
    let place = Place::new();
    place
        .ok(&[&["train", "tiny.toml", "--out", "run", "--set", "checkpoint.keep=9"], settings]
            .concat());
    let (model, losses) = (place.model("run"), losses(&place, "run"));
    for name in place.names("run/checkpoints") {
        if name != checkpoint {
            std::fs::remove_dir_all(place.at("run/checkpoints").join(name)).unwrap();
        }
    }
    std::fs::remove_dir_all(place.at("run/model")).unwrap();
    place.ok(&["train", "--resume", "run"]);
    assert_eq!(place.model("run"), model);
    assert!(place.names("run/checkpoints").contains(&last.to_owned()));
    losses
}

#[test]
fn lbfgs_trains_from_a_config_and_resumes_to_the_same_bits() {
    let losses = trains_and_resumes(&SEARCH, "step-5", "step-12");
    assert!(losses[11] < losses[0] - 1.0, "{losses:?}");
}

#[test]
fn sharpness_aware_steps_train_from_a_config_and_resume_to_the_same_bits() {
    let losses = trains_and_resumes(&SHARP, "step-10", "step-24");
    assert!(losses[23] < losses[0] - 1.0, "{losses:?}");
}

#[test]
fn a_search_over_accumulated_gradients_is_refused_before_the_first_step() {
    let place = Place::new();
    let before = place.names(".");
    let settings = ["--set", "train.gradient_accumulation_steps=2"];
    let told = place.error(&[&["train", "tiny.toml"], &SEARCH[..], &settings].concat());
    assert!(told.contains("config key `train.gradient_accumulation_steps`"), "{told}");
    assert!(told.contains("set it to 1, and raise batch_size instead"), "{told}");
    assert_eq!(place.names("."), before);
    // Sharpness-aware steps look twice at the same parts.
    place.ok(&[&["train", "tiny.toml"], &SHARP[..], &settings].concat());
}
