//! Files that a failure of the power, a full disk or a wrong place must not spoil.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod common;
#[path = "common/shim.rs"]
mod shim;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::{Command, Output};

use common::{Place, stderr};
use shim::preload;

const TABLE: &str = r#"
task = "regression"
[data]
file = "table.csv"
target = "y"
[model]
name = "linear"
[optimizer]
name = "sgd"
lr = 0.1
[train]
steps = 3
batch_size = 4
"#;

/// A run on a table, and a run on text.
const RUNS: [&str; 2] = ["table.toml", "tiny.toml"];

fn place() -> Place {
    let place = Place::new();
    let row = |i: i32| format!("{},{},{}\n", i, i * i % 7, 2 * i + 1);
    place.write("table.csv", "a,b,y\n".to_owned() + &(0..40).map(row).collect::<String>());
    place.write("table.toml", TABLE);
    place
}

/// The standard error of a command that must fail with exit code 1 as a call fails.
#[track_caller]
fn failing(place: &Place, fail: &str, args: &[&str]) -> String {
    let output = preload(&mut place.command(args)).env("SHIM_FAIL", fail).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn every_file_is_synced_before_its_folder_is_published() {
    let place = place();
    for config in RUNS {
        let _ = fs::remove_file(place.at("log"));
        let _ = fs::remove_dir_all(place.at("run"));
        let mut command = place.command(&["train", config, "--out", "run"]);
        let output = preload(&mut command).env("SHIM_LOG", place.at("log")).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let log = place.read("log");
        let calls: Vec<&str> = log.lines().collect();
        for (beside, published) in
            [(".model.partial", "model"), (".step-3.partial", "step-3")].map(|(a, b)| {
                // Both runs save a checkpoint at their end, at another step.
                let step = if config == "tiny.toml" { "step-24" } else { "step-3" };
                (a.replace("step-3", step), b.replace("step-3", step))
            })
        {
            let folder = if published == "model" { "run" } else { "run/checkpoints" };
            let renamed = calls.iter().position(|call| {
                call.starts_with("rename ") && call.ends_with(&format!("{folder}/{published}"))
            });
            let (before, after) = calls.split_at(renamed.expect("it was published"));
            let synced = |path: String| {
                before.iter().any(|call| call.starts_with("fsync ") && call.ends_with(&path))
            };
            let names = place.names(&format!("{folder}/{published}"));
            assert!(names.len() >= 3, "{names:?}");
            for name in names {
                assert!(synced(format!("/{folder}/{beside}/{name}")), "{config}: {name} is not");
            }
            assert!(synced(format!("/{folder}/{beside}")), "{config}: the folder is not");
            let holder = |call: &&str| call.starts_with("fsync ") && call.ends_with(folder);
            assert!(after.iter().any(holder), "{config}: what holds {published} is not");
        }
    }
}

#[test]
fn permissions_follow_the_umask() {
    let place = place();
    for (umask, mode) in [("022", 0o644), ("077", 0o600), ("002", 0o664)] {
        let out = format!("run-{umask}");
        let script = format!("umask {umask}; exec \"$0\" train tiny.toml --out {out}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_rappel")]).current_dir(place.at("."));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        for folder in ["", "/model", "/checkpoints/step-24"] {
            let folder = out.clone() + folder;
            for name in place.names(&folder) {
                let found = fs::metadata(place.at(&folder).join(&name)).unwrap();
                let bits = found.permissions().mode() & 0o777;
                if found.is_file() {
                    assert_eq!(bits, mode, "{folder}/{name}: {bits:o}");
                }
            }
        }
    }
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_not_called_incomplete() {
    let place = place();
    place.ok(&["train", "tiny.toml", "--out", "run", "--set", "checkpoint.keep=3"]);
    let kept = place.names("run/checkpoints");
    for (fail, advice) in [
        ("open:step-24/params:13", "check the permissions"),
        ("open:step-24/manifest:24", "ulimit -n"),
        ("read:step-24/state.json:5", "the disk may be failing"),
    ] {
        let told = failing(&place, fail, &["train", "--resume", "run"]);
        assert!(told.contains("error: cannot read run/checkpoints/step-24/"), "{told}");
        assert!(told.contains(advice) && !told.contains("passed over"), "{told}");
        assert!(!told.contains("remove") && !told.contains("whole"), "{told}");
        assert_eq!(place.names("run/checkpoints"), kept);
    }
    // A file that is missing or changed is another matter.
    fs::remove_file(place.at("run/checkpoints/step-24/state.json")).unwrap();
    let output = place.rappel(&["train", "--resume", "run"]);
    assert!(output.status.success() && stderr(&output).contains("note: passed over"));
}

#[test]
fn the_advice_of_a_failed_save_follows_its_cause() {
    let place = place();
    for (number, advice) in [
        (28, "free some space on that disk"),
        (122, "your disk quota is used up"),
        (27, "raise the limit on the size of files"),
        (5, "the disk may be failing"),
    ] {
        let out = format!("run-{number}");
        let fail = format!("write:params.safetensors:{number}");
        let told = failing(&place, &fail, &["train", "tiny.toml", "--out", &out]);
        assert!(
            told.contains("error: cannot save the checkpoint of step 5: cannot write "),
            "{told}"
        );
        assert!(told.contains(advice), "{told}");
        assert!(told.contains(&format!("`rappel train --resume {out}`")), "{told}");
        assert!(place.names(&format!("{out}/checkpoints")).is_empty());
    }
    for (number, advice) in [(13, "check the permissions"), (30, "read-only")] {
        let out = format!("run-{number}");
        let fail = format!("open:params.safetensors:{number}");
        let told = failing(&place, &fail, &["train", "tiny.toml", "--out", &out]);
        assert!(told.contains(advice) && !told.contains("space"), "{told}");
    }
}

#[track_caller]
fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

#[test]
fn output_goes_where_its_path_leads() {
    let place = place();
    place.ok(&["train", "table.toml", "--out", "run"]);
    let predict = |out: &str| {
        let args = ["predict", "--model", "run/model", "--file", "table.csv", "--out"];
        place.rappel(&[&args[..], &[out]].concat())
    };
    succeeded(&predict("plain.csv"));
    let expected = place.read("plain.csv");
    assert_eq!(expected.lines().count(), 41);

    // A link stays a link, also to a file that is not there yet, or in another folder.
    fs::create_dir(place.at("there")).unwrap();
    symlink("there/real.csv", place.at("link.csv")).unwrap();
    for _ in 0..2 {
        succeeded(&predict("link.csv"));
        assert!(fs::symlink_metadata(place.at("link.csv")).unwrap().is_symlink());
        assert_eq!(place.read("there/real.csv"), expected);
    }

    // Standard output holds the table and nothing else.
    for out in ["-", "/dev/stdout"] {
        let output = predict(out);
        succeeded(&output);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{out}");
        assert!(stderr(&output).contains("40 rows"), "{out}");
    }
    assert!(!place.at("-").exists());
    // Also where standard output is a file.
    let file = fs::File::create(place.at("stdout.csv")).unwrap();
    let args = ["predict", "--model", "run/model", "--file", "table.csv", "--out", "/dev/stdout"];
    assert!(place.command(&args).stdout(file).status().unwrap().success());
    assert_eq!(place.read("stdout.csv"), expected);

    // A pipe with a name stays one.
    assert!(Command::new("mkfifo").arg(place.at("pipe")).status().unwrap().success());
    let pipe = place.at("pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    succeeded(&predict("pipe"));
    assert_eq!(reader.join().unwrap(), expected);
    assert!(fs::metadata(place.at("pipe")).unwrap().file_type().is_fifo());

    // A device, by a link so that a fault does not spoil the machine.
    symlink("/dev/null", place.at("null")).unwrap();
    succeeded(&predict("null"));
    assert!(fs::symlink_metadata(place.at("null")).unwrap().is_symlink());
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());

    // What cannot be written is refused before the model is read.
    for (out, expected) in [("there", "is a directory"), ("none/x.csv", "No such file")] {
        let output = predict(out);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn a_picture_that_fails_leaves_the_old_one() {
    let place = place();
    let args = ["schedule", "tiny.toml", "--png", "lr.svg"];
    place.ok(&args);
    let old = place.read("lr.svg");
    let told = failing(
        &place,
        "write:lr.svg:28",
        &[&args[..], &["--set", "schedule.warmup_steps=9"]].concat(),
    );
    assert!(told.contains("lr.svg: No space left on device"), "{told}");
    assert_eq!(place.read("lr.svg"), old);
    assert!(place.names(".").iter().all(|name| !name.contains("partial")));
    symlink("lr.svg", place.at("link.svg")).unwrap();
    place.ok(&["schedule", "tiny.toml", "--png", "link.svg"]);
    assert!(fs::symlink_metadata(place.at("link.svg")).unwrap().is_symlink());
}
