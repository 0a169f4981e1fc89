//! Where a run is made, and what arguments and variables are refused before anything is done.
#![cfg(unix)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use common::{Place, sha256, stderr};

const SHORT: [&str; 6] = [
    "--set",
    "train.steps=2",
    "--set",
    "sample.max_tokens=0",
    "--set",
    "schedule={ name = 'constant' }",
];

fn train(out: &str) -> Vec<&str> {
    [&["train", "tiny.toml", "--out", out][..], &SHORT].concat()
}

#[test]
fn an_empty_folder_is_taken_by_whatever_way_it_is_reached() {
    let place = Place::new();
    fs::create_dir(place.at("real")).unwrap();
    symlink(place.at("real"), place.at("link")).unwrap();
    // As a kill leaves it that came while the config was written.
    place.write("real/.config.toml.4711.partial", "half");
    place.ok(&train("link"));
    assert!(place.at("link").is_symlink() && place.at("real/model/config.json").exists());
    assert!(place.error(&train("link")).contains("link is not empty"));

    fs::create_dir(place.at("here")).unwrap();
    let mut here = place.command(&[
        "train",
        "../tiny.toml",
        "--out",
        ".",
        "--set",
        "data.files=../corpus.txt",
    ]);
    let output = here.args(SHORT).current_dir(place.at("here")).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(place.at("here/config.toml").exists());
    place.ok(&["train", "--resume", "here"]);
}

#[test]
fn what_cannot_be_a_run_is_refused_before_the_data_is_read() {
    let place = Place::new();
    place.write("file", "");
    symlink(place.at("nowhere"), place.at("dangling")).unwrap();
    for (out, expected) in [
        ("file", "cannot make a run at file: Not a directory"),
        ("file/run", "cannot make a run at file/run: Not a directory"),
        ("dangling", "cannot follow the link dangling: No such file"),
        ("/proc/run", "cannot make a run in /proc: "),
    ] {
        let before = place.names(".");
        let told = place.error(&train(out));
        assert!(told.contains(expected), "{out}: {told}");
        assert!(!told.contains("reading the corpus"), "{out}: {told}");
        assert_eq!(place.names("."), before);
    }
}

#[test]
fn what_killed_runs_left_goes_with_the_next() {
    let place = Place::new();
    for leftover in ["runs/.tiny-1.4711.partial", "runs/.other.12.partial"] {
        fs::create_dir_all(place.at(leftover)).unwrap();
        place.write(&format!("{leftover}/config.toml"), "");
    }
    // Those of somebody else.
    for other in ["runs/.tiny-1.x.partial", "runs/.mine.4711.partial/checkpoints"] {
        fs::create_dir_all(place.at(other)).unwrap();
    }
    place.ok(&[&["train", "tiny.toml"][..], &SHORT].concat());
    assert_eq!(place.names("runs"), [".mine.4711.partial", ".tiny-1.x.partial", "tiny-1"]);
    fs::create_dir(place.at("runs/tiny-1/.model.partial")).unwrap();
    place.write("runs/tiny-1/.metrics.jsonl.4711.partial", "half");
    place.ok(&["train", "--resume", "runs/tiny-1"]);
    let names = place.names("runs/tiny-1");
    assert!(!names.iter().any(|name| name.ends_with(".partial")), "{names:?}");
}

#[test]
fn names_that_are_not_utf_8_are_refused_not_changed() {
    let place = Place::new();
    let odd = OsStr::from_bytes(b"caf\xe9");
    for option in ["--out", "--from", "--resume"] {
        let mut command = place.command(&["train"]);
        if option != "--resume" {
            command.arg("tiny.toml");
        }
        let output = command.arg(option).arg(odd).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{option}");
        assert!(
            stderr(&output).contains("the argument \"caf\\xE9\" is not UTF-8"),
            "{}",
            stderr(&output)
        );
    }
    fs::create_dir(place.at("texts")).unwrap();
    fs::write(place.at("texts").join(odd), "a text").unwrap();
    let told = place.error(&["train", "tiny.toml", "--set", "data.files=texts"]);
    assert!(told.contains("its name is not UTF-8; rename it"), "{told}");
    fs::create_dir(place.at(odd)).unwrap();
    let mut inside = place.command(&["train", "../tiny.toml", "--set", "data.files=../corpus.txt"]);
    let output = inside.args(SHORT).current_dir(place.at(odd)).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is not UTF-8, which config and records could not hold"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read_dir(place.at(odd)).unwrap().count(), 0);
}

#[test]
fn variables_and_numbers_of_threads_that_make_no_sense_are_refused() {
    let place = Place::new();
    for (variable, value, expected) in [
        ("RAYON_NUM_THREADS", "many", "RAYON_NUM_THREADS=\"many\" is not a number of threads"),
        ("RAYON_NUM_THREADS", "50000", "set it to 1 to 1024, or unset it"),
        ("RAPPEL_SIMD", "sse9", "RAPPEL_SIMD=\"sse9\": no such instruction set (known: plain"),
    ] {
        let output = place.command(&["list"]).env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{variable}={value}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    for count in ["50000", "0", "-1"] {
        assert_eq!(place.rappel(&["list", "--threads", count]).status.code(), Some(2), "{count}");
    }
    place.ok(&["list", "--threads", "3"]);
}

#[test]
fn names_cannot_command_a_terminal() {
    let place = Place::new();
    let output = place.rappel(&["train", "\u{1b}[2J\u{7}none.toml"]);
    let told = stderr(&output);
    assert!(told.contains(r"cannot read the config \u{1b}[2J\u{7}none.toml"), "{told}");
    let output = place.rappel(&train("run\u{1b}[31m\nstep 9"));
    let told = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !told.contains('\u{1b}'), "{told}");
    assert!(told.contains(r"run         run\u{1b}[31m\nstep 9"), "{told}");
}

#[test]
fn a_console_sink_is_the_only_one_to_tell_of_steps() {
    let place = Place::new();
    let told = |sinks: &str| {
        let output = place
            .rappel(&[&train(sinks)[..], &["--set", &format!("telemetry.sinks={sinks}")]].concat());
        assert!(output.status.success());
        stderr(&output)
    };
    let console = told("console");
    assert_eq!(console.matches("step 2  validation/loss").count(), 1, "{console}");
    assert!(!console.contains("step 2/2") && !console.contains("validation  loss"), "{console}");
    let lines = told("jsonl");
    assert!(lines.contains("step 2/2") && lines.contains("step 2  validation  loss"), "{lines}");
    assert!(lines.contains("prepared    in "), "{lines}");
}

#[test]
fn a_run_fills_a_mount_point() {
    let place = Place::new();
    place.ok(&train("whole"));
    fs::create_dir(place.at("mounted")).unwrap();
    // In a mount namespace of its own, which ends with the shell.
    let within = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-ec", script]);
        command.arg(env!("CARGO_BIN_EXE_rappel")).current_dir(place.at(".")).output()
    };
    let mount = "mount -t tmpfs tmpfs mounted";
    match within(mount) {
        Ok(output) if output.status.success() => {}
        other => {
            eprintln!("skipped: nothing can be mounted here: {other:?}");
            return;
        }
    }
    let args: Vec<String> = train("mounted").into_iter().map(|arg| format!("\"{arg}\"")).collect();
    let copy = "cp mounted/model/model.safetensors copied";
    let train = format!("\"$0\" {}; {copy}", args.join(" "));
    let output = within(&format!("{mount}; {train}")).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(sha256(place.at("copied")), place.model("whole"));
    assert!(place.names("mounted").is_empty(), "it was written below the mount point");
}
