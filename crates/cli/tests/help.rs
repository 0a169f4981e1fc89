//! The command line, frozen: a change of `help.txt` is a change of what users type.

mod common;

use common::Place;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["train"],
    &["generate"],
    &["eval"],
    &["inspect"],
    &["convert"],
    &["embed"],
    &["predict"],
    &["list"],
    &["lr-find"],
    &["schedule"],
    &["surface"],
    &["replay"],
    &["cache"],
    &["devices"],
    &["selftest"],
    &["completions"],
    &["man"],
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
        // Values come from the registries.
        for value in ["optimizers", "rosenbrock", "adamw", "schedule.name=cosine", "train.steps="] {
            assert!(script.contains(value), "{shell}: {value}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Place::new();
    let page = place.ok(&["man", "train"]);
    assert!(page.contains(".TH rappel-train 1") && page.contains("resume"), "{page}");
    assert!(place.ok(&["man"]).contains("lr\\-find"));
    place.ok(&["man", "--out", "pages"]);
    let names = place.names("pages");
    for name in ["rappel.1", "rappel-train.1", "rappel-lr-find.1", "rappel-man.1"] {
        assert!(names.iter().any(|other| other == name), "{names:?}");
    }
    assert!(place.error(&["man", "trian"]).contains("did you mean `train`?"));
}

#[test]
fn each_key_has_a_page() {
    let place = Place::new();
    let page = place.ok(&["list", "keys", "train.steps"]);
    let wanted = "train.steps: optimizer steps; give either this or epochs\n\
        values       integer >= 1\ndefault      none: it may stay unset\n";
    assert!(page.starts_with(wanted) && page.contains("max_steps"), "{page}");
    assert!(place.ok(&["list", "keys", "train"]).contains("  batch_size"));
    let lr = place.ok(&["list", "keys", "optimizer.lr"]);
    assert!(lr.contains("adamw") && lr.contains("default      1e-3"), "{lr}");
    assert!(place.ok(&["list", "keys", "optimizer"]).contains("names        "));
    let told = place.error(&["list", "keys", "train.step"]);
    assert!(told.contains("did you mean `train.steps`?"), "{told}");
}

#[test]
fn quiet_runs_tell_errors_alone() {
    let place = Place::new();
    let output = place.rappel(&["train", "tiny.toml", "--quiet", "--json"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", common::stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with('{'));
    assert!(place.error(&["-q", "train", "none.toml"]).contains("cannot read the config"));
}
