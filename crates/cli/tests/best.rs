//! The model that a run keeps: an average of its weights, or the one of its best validation.

mod common;

use std::fs;

use common::{Place, stderr};
use rappel_tensor::{Tensor, TensorFile};

/// Validation gets worse after a while: too large a step, all the time.
const WORSENING: [&str; 5] = [
    "schedule={ name = \"constant\" }",
    "optimizer.lr=0.2",
    "train.eval_every=2",
    "sample.max_tokens=0",
    "checkpoint.every=9",
];

fn train<'a>(run: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "tiny.toml", "--out", run, "--json"];
    WORSENING.iter().chain(settings).for_each(|setting| args.extend(["--set", setting]));
    args
}

/// The validation losses of a run by step.
fn losses(place: &Place, run: &str) -> Vec<(u64, f64)> {
    let record = place.read(&format!("{run}/metrics.jsonl"));
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Some((line["step"].as_u64()?, line["validation/loss"].as_f64()?))
    };
    record.lines().filter_map(line).collect()
}

#[test]
fn the_best_model_is_kept_and_the_run_ends_early() {
    let place = Place::new();
    place.ok(&train("whole", &["train.steps=40"]));
    let whole = losses(&place, "whole");
    // What patience of 3 comes to, on the losses of a run that continues.
    let mut best = whole[0];
    let mut end = None;
    for (i, (step, loss)) in whole.iter().enumerate() {
        if *loss < best.1 {
            best = (*step, *loss);
        }
        if (i + 1) as u64 * 2 >= best.0 + 6 {
            end = Some(*step);
            break;
        }
    }
    let end = end.expect("the losses worsen");
    assert!(end < 40, "{whole:?}");

    let output = place.rappel(&train("run", &["train.steps=40", "early_stopping={}"]));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((told["steps"].as_u64(), told["best_step"].as_u64()), (Some(end), Some(best.0)));
    assert_eq!(told["validation_loss"], best.1);
    let note = format!("validation loss has not got better since step {}", best.0);
    assert!(stderr(&output).contains(&note), "{}", stderr(&output));
    assert_eq!(losses(&place, "run"), whole[..(end / 2) as usize]);
    let upto = format!("train.steps={}", best.0);
    place.ok(&train("upto", &[&upto]));
    assert_eq!(place.model("run"), place.model("upto"));
    assert!(place.names("run/checkpoints").contains(&format!("step-{}", best.0)));

    // A run that ended continues to the same end, and one that lost its last checkpoints, too.
    let model = place.model("run");
    assert_eq!(place.json(&["train", "--resume", "run", "--json"])["steps"], end);
    assert_eq!(place.model("run"), model);
    for name in place.names("run/checkpoints") {
        let step: u64 = name.strip_prefix("step-").unwrap().parse().unwrap();
        if step > best.0 {
            fs::remove_dir_all(place.at("run/checkpoints").join(name)).unwrap();
        }
    }
    fs::remove_dir_all(place.at("run/model")).unwrap();
    let told = place.json(&["train", "--resume", "run", "--json"]);
    assert_eq!((told["steps"].as_u64(), told["best_step"].as_u64()), (Some(end), Some(best.0)));
    assert_eq!(place.model("run"), model);
}

#[test]
fn without_restoring_the_last_model_is_kept() {
    let place = Place::new();
    let stopping = "early_stopping={ patience = 1, restore_best = false }";
    let told = place.json(&train("run", &["train.steps=40", stopping]));
    let end = told["steps"].as_u64().unwrap();
    assert!(end < 40 && told["best_step"].is_null(), "{told}");
    place.ok(&train("upto", &[&format!("train.steps={end}")]));
    assert_eq!(place.model("run"), place.model("upto"));
}

#[test]
fn the_average_is_what_is_validated_and_kept_also_when_resumed() {
    let place = Place::new();
    for average in ["{ name = \"ema\", decay = 0.8 }", "{ name = \"latest\", k = 3, every = 4 }"] {
        let average = &format!("average={average}");
        let run = ["train.steps=24", average, "checkpoint.every=8", "checkpoint.keep=9"];
        place.ok(&train("run", &run));
        place.ok(&train("plain", &["train.steps=24"]));
        assert_ne!(place.model("run"), place.model("plain"));
        let last = |run| losses(&place, run).last().unwrap().1;
        assert_ne!(last("run"), last("plain"));
        let model = place.model("run");
        for step in ["step-16", "step-24"] {
            fs::remove_dir_all(place.at("run/checkpoints").join(step)).unwrap();
        }
        place.ok(&["train", "--resume", "run"]);
        assert_eq!(place.model("run"), model, "{average}");
        for run in ["run", "plain"] {
            fs::remove_dir_all(place.at(run)).unwrap();
        }
    }
}

#[test]
fn the_mean_of_the_latest_is_that_of_the_checkpoints() {
    let place = Place::new();
    let average = "average={ name = \"latest\", k = 3, every = 8 }";
    let run = ["train.steps=24", average, "checkpoint.every=8", "checkpoint.keep=9"];
    place.ok(&train("run", &run));
    let open = |path: &str| TensorFile::open(place.at(path)).unwrap();
    let model = open("run/model/model.safetensors");
    let steps: Vec<TensorFile> = [8, 16, 24]
        .map(|step| open(&format!("run/checkpoints/step-{step}/params.safetensors")))
        .into();
    for name in model.names() {
        let of = |file: &TensorFile| -> Tensor { file.tensor(&name).unwrap() };
        let mean = (of(&steps[0]) + of(&steps[1]) + of(&steps[2])) / 3.0;
        let worst = (of(&model) - mean).abs().max().item();
        assert!(worst < 1e-6, "{name}: {worst}");
    }
}

#[test]
fn what_cannot_be_watched_is_an_error_before_anything_is_written() {
    let place = Place::new();
    for (settings, expected) in [
        (vec!["early_stopping={}", "train.eval_every=0"], "`train.eval_every`: early_stopping"),
        (vec!["early_stopping={}", "data.validation_fraction=0"], "there is no validation data"),
        (vec!["early_stopping={ metric = \"los\" }"], "measures no `los`; did you mean `loss`?"),
        (vec!["early_stopping={ patience = -1 }"], "`early_stopping.patience`: -1 is out of range"),
        (vec!["average={ name = \"em\" }"], "did you mean `ema`?"),
        (vec!["average={ name = \"ema\", decay = 1 }"], "`average.decay`: 1 is out of range"),
        (
            vec!["average={ name = \"swa\" }", "optimizer={ name = \"schedule_free_sgd\" }"],
            "the rule hands out an average of its own",
        ),
    ] {
        let told = place.error(&train("run", &settings));
        assert!(told.contains(expected), "{settings:?}: {told}");
        assert!(!place.at("run").exists(), "{settings:?}");
    }
}
