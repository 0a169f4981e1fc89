//! Runs whose matrix products round to bfloat16.

mod common;

use common::{Place, stderr};

const MEDIUM: [&str; 4] = ["train", "tiny.toml", "--set", "train.matmul_precision=medium"];

fn loss(place: &Place, args: &[&str]) -> f64 {
    place.json(&[args, &["--json"]].concat())["validation_loss"].as_f64().unwrap()
}

#[test]
fn medium_learns_as_highest_does_and_the_run_remembers_it() {
    let place = Place::new();
    let single = loss(&place, &["train", "tiny.toml", "--out", "single"]);
    let medium = loss(&place, &[&MEDIUM[..], &["--out", "medium"]].concat());
    assert_ne!(place.model("single"), place.model("medium"));
    assert!((medium / single - 1.0).abs() < 0.005, "{medium}, in single precision {single}");
    assert!(place.read("medium/config.toml").contains("matmul_precision = \"medium\""));
    let high = ["train", "tiny.toml", "--set", "train.matmul_precision=high", "--out", "high"];
    place.ok(&high);
    assert_eq!(place.model("high"), place.model("single"), "processors have no TF32");
}

#[test]
fn bits_depend_neither_on_threads_nor_on_a_stop() {
    let place = Place::new();
    let more = ["--set", "train.matmul_precision=medium", "--set", "model.n_embd=48"];
    let train = |threads: &str, out: &str, more: &[&str]| {
        let args = [&["train", "tiny.toml", "--out", out], more].concat();
        let output = place.command(&args).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    };
    train("1", "one", &more);
    train("3", "three", &more);
    assert_eq!(place.model("one"), place.model("three"));
    train("2", "resumed", &more);
    std::fs::remove_dir_all(place.at("resumed/checkpoints/step-24")).unwrap();
    std::fs::remove_dir_all(place.at("resumed/model")).unwrap();
    place.ok(&["train", "--resume", "resumed"]);
    assert_eq!(place.model("one"), place.model("resumed"));
}

#[test]
fn the_instructions_are_told_recorded_and_can_be_named() {
    let place = Place::new();
    let named = |kernel: &str, args: &[&str]| {
        place.command(args).env("RAPPEL_BF16", kernel).output().unwrap()
    };
    let begun = named("widened", &[&MEDIUM[..], &["--out", "run"]].concat());
    assert!(stderr(&begun).contains("RAPPEL_BF16=widened"), "{}", stderr(&begun));
    let state = place.read("run/checkpoints/step-24/state.json");
    assert!(state.contains("\"bf16_kernel\": \"widened\""), "{state}");

    let wrong = named("fast", &[&MEDIUM[..], &["--out", "wrong"]].concat());
    assert_eq!(wrong.status.code(), Some(1));
    let text = stderr(&wrong);
    assert!(
        text.contains("RAPPEL_BF16=fast: expected one of `amx`, `avx512`, `widened`"),
        "{text}"
    );
    assert!(!place.at("wrong").exists(), "nothing is written before the check");
    // A run in single precision does not ask for them.
    assert!(named("fast", &["train", "tiny.toml", "--out", "single"]).status.success());

    let fast = named("avx512", &["train", "--resume", "run"]);
    if fast.status.success() {
        let text = stderr(&fast);
        let note = "used the instructions `widened` so far and use `avx512` here";
        assert!(text.contains(note), "{text}");
    } else {
        assert!(stderr(&fast).contains("RAPPEL_BF16=avx512: "), "{}", stderr(&fast));
    }
}

#[test]
fn what_medium_cannot_round_is_an_error() {
    let place = Place::new();
    let text = place.error(&[&MEDIUM[..], &["--set", "model.dtype=f64"]].concat());
    assert!(text.contains("train.matmul_precision") && text.contains("the model is f64"), "{text}");
    let text = place.error(&["train", "tiny.toml", "--set", "train.matmul_precision=low"]);
    assert!(text.contains("\"highest\" | \"high\" | \"medium\""), "{text}");
}
