//! Runs of the binary on tiny configs, each in a folder of its own.
#![allow(dead_code, reason = "each test file uses its share")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub const CONFIG: &str = r#"
seed = 7

[data]
files = ["corpus.txt"]
sequence_length = 16
validation_fraction = 0.1

[model]
name = "gpt2"
n_layer = 2
n_head = 2
n_embd = 16
n_positions = 32

[optimizer]
name = "adamw"
lr = 1e-2

[schedule]
name = "cosine"
warmup_steps = 4

[train]
steps = 24
batch_size = 4
log_every = 1

[checkpoint]
every = 5

[sample]
max_tokens = 20
"#;

/// A folder with a corpus and a config `tiny.toml`, in which commands run.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let line = |i: usize| format!("let x{i} = {} + {};\n", i * i % 97, i % 13);
        place.write("corpus.txt", (0..400).map(line).collect::<String>());
        place.write("tiny.toml", CONFIG);
        place
    }

    /// One with a small Llama in the folder `base`, and conversations and their template.
    pub fn with_llama() -> Self {
        let place = Self::new();
        place.ok(&["convert", testdata("gguf/llama.gguf").to_str().unwrap(), "--to", "base"]);
        for name in ["rows.jsonl", "template.jinja"] {
            place.write(name, fs::read(testdata("sft").join(name)).unwrap());
        }
        place
    }

    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.at(path), content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The names in a folder, hidden ones too, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rappel"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        // Not the cache of whoever runs the tests.
        command.env("RAPPEL_CACHE", self.at("cache"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub fn rappel(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The standard output of a command that must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.rappel(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON object that a command that must succeed prints.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What a command that must succeed tells on standard error.
    #[track_caller]
    pub fn said(&self, args: &[&str]) -> String {
        let output = self.rappel(args);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    }

    /// The standard error of a command that must fail with exit code 1.
    #[track_caller]
    pub fn error(&self, args: &[&str]) -> String {
        let output = self.rappel(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        text
    }

    /// Begins a run by `args`, kills it once it has so many checkpoints, and resumes it with the same number of threads.
    #[track_caller]
    pub fn kill_and_resume(&self, run: &str, threads: &str, args: &[&str], checkpoints: usize) {
        let threads = ["--threads", threads];
        let mut child = self.command(&[&threads, args].concat()).spawn().unwrap();
        let folder = self.at(run).join("checkpoints");
        while fs::read_dir(&folder).map_or(0, Iterator::count) < checkpoints {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        self.ok(&[&threads[..], &["train", "--resume", run]].concat());
    }

    /// A run's values of a key that were recorded, in their order.
    pub fn recorded(&self, run: &str, key: &str) -> Vec<f64> {
        let text = self.read(&format!("{run}/metrics.jsonl"));
        let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()[key].as_f64();
        text.lines().filter_map(value).collect()
    }

    /// The hash of a run's model.
    #[track_caller]
    pub fn model(&self, run: &str) -> String {
        sha256(self.at(run).join("model/model.safetensors"))
    }
}

/// A file of testdata/.
/// The arguments of a run of `config` into `out`, with settings such as `train.steps=3`.
pub fn train<'a>(config: &'a str, out: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    ["train", config, "--out", out].into_iter().chain(settings).collect()
}

pub fn testdata(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub fn sha256(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    format!("{:x?}", Sha256::digest(bytes))
}

/// Sends a signal by its name to a child.
#[cfg(unix)]
pub fn signal(name: &str, id: u32) {
    let sent = Command::new("kill").args([OsStr::new(name), OsStr::new(&id.to_string())]).status();
    assert!(sent.unwrap().success());
}
