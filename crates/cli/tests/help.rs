//! The command line, frozen: a change of `help.txt` is a change of what users type.

mod common;

use common::Place;

const COMMANDS: [&[&str]; 9] = [
    &[],
    &["train"],
    &["generate"],
    &["eval"],
    &["predict"],
    &["list"],
    &["lr-find"],
    &["schedule"],
    &["completions"],
];

const MEANT: &str = "if the change is meant: RAPPEL_BLESS=1 cargo test -p rappel-cli --test help";

#[test]
fn help_is_what_it_was() {
    let place = Place::new();
    let help = |command: &&[&str]| {
        let args = [command, &["--help"][..]].concat();
        format!("$ rappel {}\n\n{}\n", args.join(" "), place.ok(&args))
    };
    let text: String = COMMANDS.iter().map(help).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");
    if std::env::var_os("RAPPEL_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let frozen = std::fs::read_to_string(path).unwrap_or_default();
    for (now, then) in text.lines().zip(frozen.lines()) {
        assert_eq!(now, then, "{MEANT}");
    }
    assert_eq!(text.lines().count(), frozen.lines().count(), "{MEANT}");
}

#[test]
fn every_kind_lists_its_entries_and_each_entry_its_options() {
    let place = Place::new();
    let kinds = place.ok(&["list"]);
    for kind in ["tasks", "models", "optimizers", "schedules", "sources", "sinks", "keys"] {
        assert!(kinds.lines().any(|line| line.starts_with(kind)), "{kinds}");
        let entries = place.ok(&["list", kind]);
        assert!(!entries.is_empty());
        if kind == "keys" {
            assert!(entries.contains("train.batch_size") && entries.contains("checkpoint.every"));
            continue;
        }
        // Where entries have figures, these have a head.
        for line in entries.lines().filter(|line| !line.starts_with("name ")) {
            let name = line.split(' ').next().unwrap();
            let page = place.ok(&["list", kind, name]);
            assert!(
                page.starts_with(&format!("{name}: ")) && page.contains("reference: "),
                "{page}"
            );
        }
    }
    let told = place.error(&["list", "optimisers"]);
    assert!(told.contains("no kind is named `optimisers`; did you mean `optimizers`?"), "{told}");
}

#[test]
fn completions_are_written_for_each_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.ok(&["completions", shell]);
        assert!(script.contains("rappel") && script.contains("generate"), "{script}");
    }
}
