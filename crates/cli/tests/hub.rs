//! Models of the hub through the binary, from a server that has its paths.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{Place, testdata};
use rappel_testkit::{COMMIT, HubServer};

/// A server of the model in a folder.
fn server(folder: &Path) -> HubServer {
    let file = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    HubServer::new(entries.filter(|entry| entry.path().is_file()).map(file).collect())
}

fn rappel(place: &Place, server: &HubServer, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rappel"));
    command.args(args).current_dir(place.at(".")).env("HF_HOME", place.at("hub"));
    command.env("HF_ENDPOINT", server.endpoint()).env_remove("HF_TOKEN").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_model_of_the_hub_is_downloaded_in_sight_and_used_by_every_command() {
    let place = Place::new();
    let gguf = testdata("gguf/smollm.gguf");
    place.ok(&["convert", gguf.to_str().unwrap(), "--to", "base"]);
    let server = server(&place.at("base"));
    // Cut off once, it goes on where it ended.
    server.set(|faults| faults.cut = Some((1000, 1)));

    let generate = ["generate", "--model", "org/tiny", "--prompt", "a", "--max-tokens", "4"];
    let first = rappel(&place, &server, &generate);
    let (shown, out) = (text(&first.stderr), text(&first.stdout));
    assert!(first.status.success(), "{shown}");
    assert!(shown.contains("downloading model.safetensors"), "{shown}");
    let local: Vec<&str> =
        generate.iter().map(|arg| if *arg == "org/tiny" { "base" } else { *arg }).collect();
    assert_eq!(out, text(&rappel(&place, &server, &local).stdout));

    // Once there, nothing is downloaded; with --quiet nothing is shown either way.
    server.requests();
    let again = rappel(&place, &server, &["inspect", "org/tiny", "--quiet"]);
    assert!(again.status.success() && again.stderr.is_empty(), "{}", text(&again.stderr));
    assert!(server.requests().iter().all(|(path, ..)| path.starts_with("/api/")));

    // A run pins the model where it is.
    let train = [
        "train",
        "tiny.toml",
        "--set",
        "model={ pretrained = \"org/tiny\" }",
        "--set",
        "train.steps=6",
        "--out",
        "run",
    ];
    let run = rappel(&place, &server, &train);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(place.read("run/config.toml").contains(COMMIT), "{}", place.read("run/config.toml"));
    let missing = rappel(&place, &server, &["eval", "--model", "org/none", "--file", "corpus.txt"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("org/none"), "{}", text(&missing.stderr));
}
