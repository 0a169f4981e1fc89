//! Bad input is told with what, where and what to do, and nothing is written.

mod common;

use common::{CONFIG, Place};

/// The message of a run with these settings, after checking that it wrote nothing.
#[track_caller]
fn refused(place: &Place, settings: &[&str]) -> String {
    let before = place.names(".");
    let mut args = vec!["train", "tiny.toml"];
    for setting in settings {
        args.extend(["--set", setting]);
    }
    let told = place.error(&args);
    assert_eq!(place.names("."), before, "{settings:?} wrote something");
    let errors: Vec<_> = told.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{told}");
    told[told.find("error: ").unwrap()..].trim_end().to_owned()
}

#[test]
fn wrong_config_keys_are_named_with_what_they_want() {
    let place = Place::new();
    for (setting, expected) in [
        ("train.step=3", "config key `train.step`: unknown; did you mean `steps`?"),
        ("optimizer.learning_rate=3", "`optimizer.learning_rate`: unknown; did you mean `lr`?"),
        ("modle.n_layer=3", "config key `modle`: unknown; did you mean `model`?"),
        ("model.n_layers=3", "`model.n_layers`: unknown; did you mean `n_layer`?"),
        ("model.name=gpt3", "no model is named `gpt3`; did you mean `gpt2`?"),
        ("optimizer.name=adamv", "no optimizer is named `adamv`; did you mean `adam`"),
        ("schedule.name=cosin", "no schedule is named `cosin`; did you mean `cosine`?"),
        ("task=poetry", "config key `task`: no task is named `poetry`"),
        (
            "telemetry.sinks=[\"wandb\"]",
            "config key `telemetry.sinks[0].name`: no sink is named `wandb`",
        ),
        ("telemetry.sinks=[\"jsonl\", \"jsonl\"]", "`telemetry.sinks`: `jsonl` is given twice"),
        (
            "train.batch_size=1.5",
            "`train.batch_size`: expected integer >= 1, \"all\", or a schedule table, got the float 1.5",
        ),
        (
            "train.batch_size=every",
            "`train.batch_size`: \"every\" is out of range; expected integer >= 1",
        ),
        (
            "train.batch_size={ name = \"linear\", value = 8 }",
            "`train.batch_size`: the schedule gives 0.6666666666666666 at step 22, out of",
        ),
        ("train.batch_size={ name = \"lineer\", value = 8 }", "did you mean `linear"),
        ("optimizer.lr=fast", "`optimizer.lr`: expected float in"),
        ("data.validation_fraction=1", "`data.validation_fraction`: 1 is out of range"),
        ("train.batch_size=0", "`train.batch_size`: 0 is out of range; expected integer >= 1"),
        ("train.epochs=2", "`train.epochs`: steps are given too; give one"),
        ("model.n_embd=15", "n_embd"),
        ("schedule.warmup_steps=25", "a warm-up of 25 steps is longer than the run of 24 steps"),
        (
            "data.sequence_length=33",
            "samples of 33 tokens are longer than the model's 32 positions",
        ),
        ("model.vocab_size=100", "vocab_size"),
        ("data.tokenizer=sentencepiece", "neither `byte` nor `bpe`, and no such file exists"),
    ] {
        let told = refused(&place, &[setting]);
        assert!(told.contains(expected), "{setting}: {told}");
    }
}

#[test]
fn draws_with_replacement_have_no_order() {
    let told = refused(&Place::new(), &["data.replacement=true", "data.shuffle=false"]);
    assert!(told.contains("config key `data.replacement`: replacement = true draws"), "{told}");
}

#[test]
fn what_is_no_config_says_where() {
    let place = Place::new();
    let told = place.error(&["train", "none.toml"]);
    assert!(told.starts_with("error: cannot read the config none.toml"), "{told}");
    assert!(told.contains("No such file"), "{told}");
    place.write("tiny.toml", CONFIG.replace("seed = 7", "seed = "));
    let told = refused(&place, &[]);
    assert!(told.starts_with("error: tiny.toml") && told.contains("line 2"), "{told}");
    place.write("tiny.toml", CONFIG.replace("steps = 24", ""));
    assert!(
        refused(&place, &[]).contains("config key `train.steps`: missing; give steps or epochs")
    );
}

#[test]
fn data_that_cannot_be_learned_from_is_refused() {
    let place = Place::new();
    place.write("empty.txt", "");
    place.write("short.txt", "abc");
    place.write("latin1.txt", b"gr\xfc\xdfe\n".repeat(1000));
    for (settings, expected) in [
        (vec!["data.files=[\"none.txt\"]"], "none.txt` does not exist"),
        (vec!["data.files=[]"], "`data.files`: an empty list; name at least one file"),
        (vec!["data.files=[\"empty.txt\"]"], "the corpus is empty"),
        (vec!["data.files=[\"short.txt\"]"], "one sample of sequence_length = 16 takes 17"),
        (
            vec!["data.files=[\"latin1.txt\"]", "data.tokenizer=bpe", "data.vocab_size=300"],
            "latin1.txt: not UTF-8 at byte offset 2; give UTF-8 text, or set tokenizer = \"byte\"",
        ),
        (vec!["data.name=cargo", "data.files=[]"], "`data.files`: unknown"),
    ] {
        let told = refused(&place, &settings);
        assert!(told.contains(expected), "{settings:?}: {told}");
    }
    place.ok(&["train", "tiny.toml", "--set", "data.files=[\"latin1.txt\"]"]);
}

#[test]
fn without_the_cargo_corpus_other_files_are_asked_for() {
    let place = Place::new();
    let config = CONFIG.replace("files = [\"corpus.txt\"]", "name = \"cargo\"");
    place.write("tiny.toml", config);
    let told = refused(&place, &[]);
    assert!(told.contains("cannot find the Rust sources of the workspace's crates"), "{told}");
    assert!(told.contains("or give data.files"), "{told}");
}

#[test]
fn an_existing_run_is_not_written_over() {
    let place = Place::new();
    place.ok(&["train", "tiny.toml", "--out", "run"]);
    let (files, model) = (place.names("run"), place.model("run"));
    let told = place.error(&["train", "tiny.toml", "--out", "run"]);
    assert!(
        told.contains("run is not empty; resume the run there with `rappel train --resume"),
        "{told}"
    );
    assert_eq!((place.names("run"), place.model("run")), (files, model));
    let told = place.error(&["train", "tiny.toml", "--out", "corpus.txt"]);
    assert!(told.contains("cannot make a run at corpus.txt: Not a directory"), "{told}");
    for nothing in ["none", ".", "corpus.txt"] {
        let told = place.error(&["train", "--resume", nothing]);
        assert!(told.contains("is not a run: it has no config.toml"), "{told}");
    }
    std::fs::create_dir(place.at("empty")).unwrap();
    place.ok(&["train", "tiny.toml", "--out", "empty"]);
}

#[test]
fn a_run_that_diverges_names_step_batch_and_tensor_and_keeps_its_checkpoints() {
    let place = Place::new();
    let settings = [
        "--set",
        "optimizer.lr=1e30",
        "--set",
        "schedule.warmup_steps=0",
        "--set",
        "checkpoint.every=1",
        "--set",
        "train.max_grad_norm=0",
    ];
    let told = place.error(&[&["train", "tiny.toml", "--out", "run"], &settings[..]].concat());
    let error = &told[told.find("error: ").unwrap()..];
    assert!(error.starts_with("error: step "), "{told}");
    for part in ["the first non-finite tensor is", "the batch has the samples"] {
        assert!(error.contains(part), "{part}: {told}");
    }
    let checkpoints = place.names("run/checkpoints");
    assert!(checkpoints.iter().any(|name| name.starts_with("step-")), "{checkpoints:?}");
    assert!(!place.at("run/model").exists());
}

#[test]
fn wrong_arguments_exit_with_2() {
    let place = Place::new();
    for args in [
        vec!["train"],
        vec!["train", "tiny.toml", "--resume", "run"],
        vec!["generate"],
        vec!["generate", "--model", "m", "--greedy", "--temperature", "2"],
        vec!["generate", "--model", "m", "--chat", "--prompt", "x"],
        vec!["generate", "--model", "m", "--chat", "--json"],
        vec!["generate", "--model", "m", "--system", "x"],
        vec!["generate", "--model", "m", "--num-return-sequences", "0"],
        vec!["generate", "--model", "m", "--dtype", "float16"],
        vec!["frobnicate"],
        vec!["--threads", "0", "list"],
    ] {
        assert_eq!(place.rappel(&args).status.code(), Some(2), "{args:?}");
    }
}
