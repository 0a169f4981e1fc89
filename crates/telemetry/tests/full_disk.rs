//! A disk that fills up in the middle of a record leaves only whole ones.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

use rappel_config::{Options, toml};
use rappel_telemetry::{Event, Moment, Opening, SINKS, Sink, Start, open};

const DIR: &str = "RAPPEL_TEST_FULL_DISK_DIR";

fn section(name: &str) -> Options {
    SINKS.resolve("", &toml::from_str(&format!("name = '{name}'")).unwrap()).unwrap().1
}

/// Logs until the system refuses, then once more; the texts of both errors.
fn log_until_refused(dir: &Path, sink: &str) -> [String; 2] {
    let console = || Box::new(std::io::sink()) as Box<dyn std::io::Write + Send>;
    let opening = Opening { dir, start: Start::Fresh, wall_time: 1.7e9, console: &console };
    let mut sinks = open(&[section(sink)], &opening).unwrap();
    let mut log = |step| {
        sinks.log(Moment { step, wall_time: 1.5 }, &Event::Scalars(&[("train/loss", 0.1)])).err()
    };
    let first = (100..10_000).find_map(&mut log).expect("a refusal").to_string();
    [first, log(10_000).expect("another refusal").to_string()]
}

#[test]
fn only_whole_records_are_left() {
    if let Ok(dir) = std::env::var(DIR) {
        for sink in ["jsonl", "tensorboard"] {
            for text in log_until_refused(Path::new(&dir), sink) {
                assert!(text.starts_with(&format!("cannot append to {dir}/")), "{text}");
            }
        }
        return;
    }
    // A limit on the size of files stands for the full disk: what fits is written, then no more. It
    // binds a whole process, so this test runs itself again in one of its own.
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact only_whole_records_are_left"])
        .arg(std::env::current_exe().unwrap())
        .env(DIR, dir.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));

    let mut found = 0;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let content = std::fs::read(file.path()).unwrap();
        assert!(content.len() > 3500, "{}: {} bytes", file.path().display(), content.len());
        found += 1;
        if file.file_name() == "metrics.jsonl" {
            for line in String::from_utf8(content).unwrap().split_inclusive('\n') {
                assert!(line.starts_with("{\"step\":") && line.ends_with("0.1}\n"), "{line}");
            }
        } else {
            let mut rest = content.as_slice();
            while let Some((length, _)) = rest.split_first_chunk::<8>() {
                let frame = usize::try_from(u64::from_le_bytes(*length)).unwrap() + 16;
                assert!(frame <= rest.len(), "a record of {frame} bytes, {} left", rest.len());
                rest = &rest[frame..];
            }
            assert!(rest.is_empty());
        }
    }
    assert_eq!(found, 2);
}
