//! Memory that does not suffice: told before the first step, or where it is refused.
#![cfg(target_os = "linux")]

mod common;

use std::process::Output;

use common::{Place, stderr};

/// Runs the binary within so many KiB of address space.
fn within(place: &Place, kib: u64, args: &[&str]) -> Output {
    let script = format!("ulimit -v {kib} && exec \"$0\" --threads 1 \"$@\"");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_rappel")]).args(args);
    command.current_dir(place.at("")).output().unwrap()
}

/// A model of 25 million parameters, 97 MiB of them.
const LARGE: [&str; 2] = ["--set", "model.n_embd=1024"];

/// Address space that is enough for the small model of the tests, and not for the large one.
const LITTLE: u64 = 300 << 10;

#[test]
fn a_run_that_does_not_fit_is_told_before_anything_is_written() {
    let place = Place::new();
    let train = [&["train", "tiny.toml", "--out", "run"], &LARGE[..]].concat();
    let output = within(&place, LITTLE, &train);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in [
        "(parameters 97.2 MiB, gradients 97.2 MiB, optimizer state 194.",
        "activations, at most",
        "`ulimit -v`",
        "train.batch_size",
        "model.gradient_checkpointing",
        "--force",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!place.at("run").exists());

    // Enough for the small model.
    let output = within(&place, LITTLE, &["train", "tiny.toml", "--set", "train.steps=5"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn with_force_it_begins_and_what_is_refused_is_an_error() {
    let place = Place::new();
    let train = [&["train", "tiny.toml", "--out", "run", "--force"], &LARGE[..]].concat();
    let output = within(&place, LITTLE, &train);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("begun anyway"), "{told}");
    assert!(told.contains("error: out of memory: the system refused"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn each_optimizer_is_counted_with_its_state() {
    let place = Place::new();
    let large = [&["train", "tiny.toml", "--out", "run"], &LARGE[..]].concat();
    let state = |more: &[&str]| {
        let told = stderr(&within(&place, LITTLE, &[&large[..], more].concat()));
        let rest = told.split_once("optimizer state ").map(|(_, rest)| rest.to_owned());
        let text = rest.unwrap_or_else(|| panic!("no state: {told}"));
        let (number, unit) = text.split_once(' ').unwrap();
        number.parse::<f64>().unwrap() * if unit.starts_with("GiB") { 1024.0 } else { 1.0 }
    };
    let adamw = state(&[]);
    let in_codes = state(&["--set", "optimizer.state_dtype=8bit"]);
    assert!((0.25..0.26).contains(&(in_codes / adamw)), "{in_codes} and {adamw}");
    let momentum = state(&["--set", "optimizer.name=sgd", "--set", "optimizer.momentum=0.9"]);
    assert!((momentum / adamw - 0.5).abs() < 1e-3, "{momentum} and {adamw}");
}

#[test]
fn learning_rates_are_looked_for_within_the_same_limits() {
    let place = Place::new();
    let find = [&["lr-find", "tiny.toml", "--out", "found"], &LARGE[..]].concat();
    let output = within(&place, LITTLE, &find);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
    assert!(!place.at("found").exists());
}

#[test]
fn an_allocation_outside_of_tensors_that_is_refused_is_exit_code_1() {
    let place = Place::new();
    // Read whole, into the memory of the system's allocator.
    let row = |i: usize| format!("{},{}\n", "x".repeat(4000) + &i.to_string(), i % 7);
    place.write("wide.csv", "a,y\n".to_owned() + &(0..60_000).map(row).collect::<String>());
    place.write(
        "wide.toml",
        "task = 'regression'\n[data]\nfile = 'wide.csv'\ntarget = 'y'\nhash = ['a']\n[model]\n\
         name = 'linear'\n[optimizer]\nname = 'adam'\n[train]\nsteps = 3\n",
    );
    let output = within(&place, 200 << 10, &["train", "wide.toml"]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{:?}: {told}", output.status);
    assert!(told.contains("memory allocation of"), "{told}");
}
