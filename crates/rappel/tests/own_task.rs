//! A program's own task is killed amid its run, started again, and ends with the bits of a run that nothing
//! interrupted.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The example, which cargo builds beside the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/own_task");
    assert!(path.exists(), "{} is built with the tests", path.display());
    path
}

fn start(dir: &Path) -> Child {
    Command::new(example()).arg(dir).spawn().unwrap()
}

fn weights(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("model/model.safetensors")).unwrap()
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let [quiet, killed] = ["quiet", "killed"].map(|name| folder.path().join(name));
    assert!(start(&quiet).wait().unwrap().success());

    let mut child = start(&killed);
    let since = Instant::now();
    // A checkpoint is there, and the model is not yet.
    while std::fs::read_dir(killed.join("checkpoints")).map_or(0, Iterator::count) == 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "killed before its end");
    assert!(!killed.join("model").exists());

    assert!(start(&killed).wait().unwrap().success());
    assert!(weights(&quiet) == weights(&killed));
    let metrics = |dir: &Path| std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let steps = |dir: &Path| metrics(dir).lines().count();
    assert_eq!(steps(&quiet), steps(&killed));
}
