//! Runs that are killed, stopped or starved continue to the same bits.
#![cfg(unix)]

mod common;

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Place, signal, stderr};

/// A checkpoint each step, so that many kills come in the middle of one.
const OFTEN: [&str; 4] = ["--set", "checkpoint.every=1", "--set", "train.steps=60"];
/// Endless for a test that interrupts it.
const LONG: [&str; 2] = ["--set", "train.steps=100000"];

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "tiny.toml", "--out", out], more].concat()
}

/// What the record says, without what the clock says.
fn record(place: &Place, run: &str) -> Vec<String> {
    let clock = |key: &str| key.contains("wall_time") || key.contains("tokens_per_second");
    let line =
        |line: &str| line.split(',').filter(|pair| !clock(pair)).collect::<Vec<_>>().join(",");
    place.read(&format!("{run}/metrics.jsonl")).lines().map(line).collect()
}

#[track_caller]
fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let since = Instant::now();
    while !there() {
        assert!(since.elapsed() < Duration::from_secs(60), "waited for {what}");
        sleep(Duration::from_millis(2));
    }
}

/// Whether an unfinished checkpoint stands in a run's folder.
fn is_saving(place: &Place, run: &str) -> bool {
    let partial = |name: fs::DirEntry| name.path().extension().is_some_and(|end| end == "partial");
    let checkpoints = fs::read_dir(place.at(run).join("checkpoints"));
    checkpoints.is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(partial)))
}

#[test]
fn killed_at_twenty_moments_it_resumes_to_the_same_bits() {
    let place = Place::new();
    let since = Instant::now();
    place.ok(&train("whole", &OFTEN));
    let (whole, takes) = (place.model("whole"), since.elapsed());
    let mut resumed = 0;
    for i in 0..20_u32 {
        let run = format!("run-{i}");
        let mut child = place.command(&train(&run, &OFTEN)).spawn().unwrap();
        // Moments all over the run, none a multiple of what its steps take.
        sleep(takes.mul_f64((f64::from(i) + 0.37 * f64::from(i % 3)) / 20.0));
        // Every third comes while a checkpoint is being written.
        while i % 3 == 0 && !is_saving(&place, &run) && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        if place.at(&run).join("config.toml").exists() {
            place.ok(&["train", "--resume", &run]);
            resumed += 1;
        } else {
            place.ok(&train(&run, &OFTEN));
        }
        assert_eq!(place.model(&run), whole, "killed as number {i}");
        assert_eq!(record(&place, &run), record(&place, "whole"), "killed as number {i}");
        assert_eq!(place.names(&format!("{run}/checkpoints")), ["step-59", "step-60"]);
    }
    assert!(resumed >= 10, "only {resumed} kills came after the run's directory");
}

#[test]
fn the_first_signal_saves_and_tells_how_to_resume() {
    let place = Place::new();
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let run = format!("run{name}");
        let child = place.command(&train(&run, &LONG)).spawn().unwrap();
        wait_for("a step", || {
            place.at(&run).join("metrics.jsonl").metadata().is_ok_and(|m| m.len() > 0)
        });
        signal(name, child.id());
        let output = child.wait_with_output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        let line = told.lines().last().unwrap();
        assert!(line.starts_with("stopped after step "), "{told}");
        assert!(line.ends_with(&format!("; resume with: rappel train --resume {run}")), "{told}");
        let step: u64 = line.split([' ', ';']).nth(3).unwrap().parse().unwrap();
        assert!(place.names(&format!("{run}/checkpoints")).contains(&format!("step-{step}")));
        assert!(!place.at(&run).join("model").exists());
    }
}

#[test]
fn stopped_and_resumed_it_is_the_run_that_never_stopped() {
    let place = Place::new();
    let long =
        ["--set", "train.steps=600", "--set", "train.log_every=7", "--set", "train.eval_every=50"];
    place.ok(&train("whole", &long));
    let child = place.command(&train("run", &long)).spawn().unwrap();
    wait_for("steps", || place.at("run/metrics.jsonl").metadata().is_ok_and(|m| m.len() > 500));
    signal("-INT", child.id());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    // From another folder, by another path.
    let resumed = Command::new(env!("CARGO_BIN_EXE_rappel"))
        .args(["train", "--resume"])
        .arg(place.at("run"))
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert_eq!(place.model("run"), place.model("whole"));
    assert_eq!(record(&place, "run"), record(&place, "whole"));
    let told = |run| place.json(&["train", "--resume", run, "--json"]);
    let (whole, run) = (told("whole"), told("run"));
    for key in ["train_loss", "validation_loss", "trigram_loss", "sample"] {
        assert_eq!(whole[key], run[key], "{key}");
    }
}

#[test]
fn a_torn_checkpoint_is_passed_over_with_a_note() {
    let place = Place::new();
    place.ok(&train("whole", &[]));
    place.ok(&train("run", &[]));
    let newest = place.at("run/checkpoints/step-24/params.safetensors");
    let mut bytes = fs::read(&newest).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&newest, bytes).unwrap();
    let output = place.rappel(&["train", "--resume", "run"]);
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("note: passed over run/checkpoints/step-24, which is not complete"),
        "{told}"
    );
    assert!(told.contains("from step 20"), "{told}");
    assert_eq!(place.model("run"), place.model("whole"));
    assert_eq!(record(&place, "run"), record(&place, "whole"));
}

#[test]
fn leftovers_of_a_kill_go_though_the_run_was_at_its_end() {
    let place = Place::new();
    place.ok(&train("run", &[]));
    let kept = place.names("run/checkpoints");
    fs::create_dir(place.at("run/checkpoints/.step-8.gone")).unwrap();
    place.ok(&["train", "--resume", "run"]);
    assert_eq!(place.names("run/checkpoints"), kept);
}

#[test]
fn what_changed_since_the_checkpoint_is_an_error() {
    let place = Place::new();
    place.ok(&train("run", &[]));
    let config = place.read("run/config.toml");
    place.write("run/config.toml", config.replace("steps = 24", "steps = 48"));
    let told = place.error(&["train", "--resume", "run"]);
    let longer = "config key `train.steps`: lr follows a schedule over the whole run: of 48 steps instead of 24";
    assert!(told.contains(longer), "{told}");
    place.write("run/config.toml", config.replace("n_embd = 16", "n_embd = 32"));
    let told = place.error(&["train", "--resume", "run"]);
    assert!(told.contains("run: config.toml is not what the checkpoint was made with"), "{told}");
    place.write("run/config.toml", config);
    place.write("corpus.txt", place.read("corpus.txt") + "one more line\n");
    let told = place.error(&["train", "--resume", "run"]);
    assert!(told.contains("the training data is not what the checkpoint was made with"), "{told}");
}

#[test]
fn on_a_full_disk_earlier_checkpoints_stay_and_the_run_goes_on_later() {
    let place = Place::new();
    let often = ["--set", "checkpoint.every=1", "--set", "train.steps=300"];
    place.ok(&train("whole", &often));
    let mut child = place.command(&train("run", &often)).spawn().unwrap();
    wait_for("two checkpoints", || place.at("run/checkpoints/step-3").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let before = newest(&place);
    // A limit on the size of files stands for the full disk: state and events fit, tensors do not.
    let limited = Command::new("sh")
        .args(["-c", "ulimit -f 32; exec \"$0\" train --resume run"])
        .arg(env!("CARGO_BIN_EXE_rappel"))
        .current_dir(place.at("."))
        .output()
        .unwrap();
    let told = stderr(&limited);
    assert_eq!(limited.status.code(), Some(1), "{told}");
    assert!(
        told.contains(&format!("error: cannot save the checkpoint of step {}", before + 1)),
        "{told}"
    );
    assert!(told.contains("earlier ones are as they were"), "{told}");
    assert!(
        told.contains("params.safetensors") && told.contains("rappel train --resume run"),
        "{told}"
    );
    assert_eq!(newest(&place), before);
    place.ok(&["train", "--resume", "run"]);
    assert_eq!(place.model("run"), place.model("whole"));
}

/// The step of the newest checkpoint of `run`; leftovers of a kill may stand beside.
fn newest(place: &Place) -> u64 {
    let number = |name: &String| name.strip_prefix("step-")?.parse().ok();
    place.names("run/checkpoints").iter().filter_map(number).max().unwrap()
}
