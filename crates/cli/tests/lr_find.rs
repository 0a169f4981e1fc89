//! `rappel lr-find`: a suggestion that a run confirms, with its picture and its reason.

mod common;

use std::io::{BufRead, BufReader};

use common::{Place, signal};

const FIND: [&str; 8] =
    ["lr-find", "tiny.toml", "--steps", "60", "--runs", "3", "--run-steps", "24"];

fn find<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FIND[..], more].concat()
}

#[test]
fn the_suggestion_is_the_best_of_runs_that_anybody_can_take() {
    let place = Place::new();
    let found = place.json(&find(&["--out", "found", "--json"]));
    let suggestion = found["suggestion"].as_f64().unwrap();
    let sweep: Vec<(f64, f64)> = found["sweep"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trial| (trial["lr"].as_f64().unwrap(), trial["loss"].as_f64().unwrap_or(f64::NAN)))
        .collect();
    assert!((3..=7).contains(&sweep.len()) && sweep.is_sorted_by(|a, b| a.0 < b.0), "{sweep:?}");
    let best = sweep.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!(best.0, suggestion);
    assert_eq!(found["measure"], "validation loss");
    // As long as the run itself, each is that run: it comes to the same loss.
    for (lr, loss) in sweep {
        let (out, setting) = (format!("run-{lr}"), format!("optimizer.lr={lr:e}"));
        let run = place.json(&["train", "tiny.toml", "--out", &out, "--set", &setting, "--json"]);
        assert!((run["validation_loss"].as_f64().unwrap() / loss - 1.0).abs() < 1e-6, "{lr}");
    }
    let reason = found["reason"].as_str().unwrap();
    assert!(reason.contains("the lowest validation loss") && reason.contains("range test alone"));
    let names = place.names("found");
    assert_eq!(names, ["lr_find.json", "lr_find.png", "range.csv", "sweep.csv"]);
    let csv = place.read("found/range.csv");
    let rates: Vec<f64> =
        csv.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    assert!(csv.starts_with("lr,loss,smoothed\n") && rates[0] == 1e-6);
    let growth = (1e6_f64).powf(1.0 / 59.0);
    assert!(rates.windows(2).all(|pair| (pair[1] / pair[0] / growth - 1.0).abs() < 1e-9));
    assert!(place.read("found/sweep.csv").starts_with("lr,validation_loss\n"));
    let written: serde_json::Value =
        serde_json::from_str(&place.read("found/lr_find.json")).unwrap();
    assert_eq!(written["reason"], found["reason"]);
}

#[test]
fn it_draws_suggests_and_writes_where_nothing_is_lost() {
    let place = Place::new();
    // Shorter than the run, whose warm-up would not fit: the schedule is drawn together.
    let args = ["--run-steps", "3", "--runs", "1", "--set", "data.validation_fraction=0"];
    let args = [&["lr-find", "tiny.toml", "--steps", "40"][..], &args].concat();
    let text = place.ok(&args);
    for part in
        ["range test, smoothed loss", "⠉", "sweep, training loss", "suggestion  ", "reason  "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.ends_with("written     runs/tiny-lr-find-1\n"), "{text}");
    assert!(place.ok(&args).ends_with("written     runs/tiny-lr-find-2\n"));
    let told = place.error(&[&args[..], &["--out", "runs/tiny-lr-find-1"]].concat());
    assert!(told.contains("runs/tiny-lr-find-1 is not empty"), "{told}");
}

#[test]
fn what_cannot_be_searched_is_refused_with_nothing_written() {
    let place = Place::new();
    for (more, expected) in [
        (vec!["--from", "1", "--to", "0.1"], "--from 1 --to 0.1: the range must rise from above 0"),
        (vec!["--from", "0"], "--from 0 --to 1: the range must rise"),
        (vec!["--set", "optimizer.lr=0"], "config key `optimizer.lr`: 0 has no multiples to try"),
        (
            vec!["--set", "optimizer.lr={ name = 'rex', value = 1 }"],
            "config key `optimizer.lr`: a schedule is not a single value to search for",
        ),
        (vec!["--set", "schedule.name=rexx"], "no schedule is named `rexx`"),
        (vec!["--set", "schedule.warmup_steps=99"], "a warm-up of 99 steps is longer than the run"),
        (vec!["--set", "data.files=['none.txt']"], "none.txt"),
    ] {
        let told = place.error(&find(&[&["--out", "found"], &more[..]].concat()));
        assert!(told.contains(expected), "{told}");
        assert!(!place.at("found").exists() && !place.at("runs").exists(), "{expected}");
    }
}

#[test]
#[cfg(unix)]
fn a_signal_ends_it_with_nothing_written() {
    let place = Place::new();
    let mut child = place
        .command(&["lr-find", "tiny.toml", "--out", "found", "--steps", "100000000"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("step ")));
    signal("-INT", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(!place.at("found").exists());
}
