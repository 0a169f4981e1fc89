//! Settings that a resumed run may change.

mod common;

use std::fs;

use common::{CONFIG, Place, stderr};

const CONSTANT: &str = "schedule={ name = 'constant' }";

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    common::train("tiny.toml", out, more)
}

fn resume<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let settings = more.iter().flat_map(|setting| ["--set", setting]);
    ["train", "--resume", run].into_iter().chain(settings).collect()
}

#[test]
fn data_that_moved_is_found_where_it_is() {
    let place = Place::new();
    place.ok(&train("run", &[]));
    let whole = place.model("run");
    fs::remove_dir_all(place.at("run/model")).unwrap();
    fs::rename(place.at("corpus.txt"), place.at("moved.txt")).unwrap();
    let told = place.error(&resume("run", &[]));
    assert!(told.contains("corpus.txt` does not exist"), "{told}");
    place.ok(&resume(
        "run",
        &["data.files=moved.txt", "sample.max_tokens=0", "telemetry.sinks=jsonl"],
    ));
    assert_eq!(place.model("run"), whole);
    // The config that it continues with from now on.
    let config = place.read("run/config.toml");
    assert!(config.contains("moved.txt"), "{config}");
    assert!(config.ends_with("\n\n[[telemetry.sinks]]\nname = \"jsonl\"\n"), "{config}");
    place.ok(&resume("run", &[]));
    place.write("other.txt", place.read("moved.txt") + "more\n");
    let told = place.error(&resume("run", &["data.files=other.txt"]));
    assert!(told.contains("the training data is not what the checkpoint was made with"), "{told}");
    assert!(place.read("run/config.toml").contains("moved.txt"));
}

#[test]
fn what_changes_the_numbers_is_refused_with_its_key() {
    let place = Place::new();
    place.ok(&train("run", &["train.eval_every=6"]));
    let before = place.read("run/config.toml");
    for (setting, key) in [
        ("optimizer.lr=1e-3", "optimizer.lr"),
        ("model.n_layer=1", "model.n_layer"),
        ("seed=8", "seed"),
        ("train.batch_size=2", "train.batch_size"),
        ("data.sequence_length=8", "data.sequence_length"),
        ("average.name=ema", "average"),
    ] {
        let told = place.error(&resume("run", &[setting]));
        let expected = format!("config key `{key}`: another value would change the numbers");
        assert!(told.contains(&expected) && told.contains("--from"), "{setting}: {told}");
    }
    let told = place.error(&resume("run", &["optimizer.lrr=1e-3"]));
    assert!(told.contains("did you mean `lr`?"), "{told}");
    assert_eq!(place.read("run/config.toml"), before);
    place.ok(&resume("run", &["train.eval_every=5", "train.log_every=3", "checkpoint.keep=1"]));
    assert_eq!(place.names("run/checkpoints"), ["step-24"]);
}

#[test]
fn where_the_schedule_allows_it_a_longer_run_is_the_one_that_was_planned_so() {
    let place = Place::new();
    let stable = "schedule={ name = 'warmup_stable_decay', warmup_steps = 2, num_decay_steps = 4 }";
    place.ok(&train("planned", &[CONSTANT, "train.steps=40"]));
    place.ok(&train("run", &[CONSTANT]));
    fs::write(place.at("run/model/notes.txt"), "mine").unwrap();
    place.ok(&resume("run", &["train.steps=40"]));
    assert_eq!(place.model("run"), place.model("planned"));
    assert_eq!(place.read("run/model/notes.txt"), "mine");
    assert!(!place.names("run/model").concat().contains(".old"));
    // How a step is computed is not what it computes.
    let apart = ["train.max_grad_norm=0", CONSTANT, "checkpoint.every=20"];
    place.ok(&train("plain", &[&apart[..], &["train.steps=30"]].concat()));
    place.ok(&train("otherwise", &apart));
    let otherwise =
        ["train.steps=30", "model.gradient_checkpointing=true", "train.update_in_backward=true"];
    place.ok(&resume("otherwise", &otherwise));
    assert_eq!(place.model("otherwise"), place.model("plain"));
    let told = place.error(&resume("run", &["train.steps=30"]));
    assert!(told.contains("`train.steps`: the run has taken 40 steps already"), "{told}");
    // A schedule that falls only at the end allows it as long as it has not begun to fall.
    place.ok(&train("stable", &[stable, "train.steps=40"]));
    let told = place.error(&resume("stable", &["train.steps=60"]));
    assert!(
        told.contains("lr follows a schedule over the whole run: of 60 steps instead of 40"),
        "{told}"
    );
    assert!(told.contains("rappel train CONFIG --from stable --set train.steps=60"), "{told}");
    fs::remove_dir_all(place.at("stable/checkpoints/step-40")).unwrap();
    place.ok(&train("planned-stable", &[stable, "train.steps=60"]));
    place.ok(&resume("stable", &["train.steps=60"]));
    assert_eq!(place.model("stable"), place.model("planned-stable"));
}

#[test]
fn what_was_followed_must_be_what_the_longer_run_follows() {
    let place = Place::new();
    let follows = ["schedule={ name = 'reduce_lr_on_plateau' }", "train.eval_every=5"];
    place.ok(&train("run", &follows));
    let told = place.error(&resume("run", &["train.steps=40"]));
    assert!(told.contains("follows its validations, and that after step 24"), "{told}");
    let told = place.error(&resume("run", &["train.eval_every=6"]));
    assert!(told.contains("config key `train.eval_every`: another value"), "{told}");
}

#[test]
fn a_model_that_somebody_touched_is_kept() {
    let place = Place::new();
    place.ok(&train("run", &[]));
    let own = place.read("run/model/config.json");
    place.write("run/model/config.json", "{}");
    place.write("run/model/README.md", "mine");
    let output = place.rappel(&resume("run", &[]));
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("note: run/model/config.json was changed since the run wrote it"),
        "{told}"
    );
    assert_eq!(place.read("run/model/config.json"), own);
    assert_eq!(place.read("run/model/config.json.old"), "{}");
    assert_eq!(place.read("run/model/README.md"), "mine");
}

#[test]
fn lines_that_were_lost_are_told_of() {
    let place = Place::new();
    place.ok(&train("run", &[]));
    let text = place.read("run/metrics.jsonl");
    let kept: Vec<&str> = text.lines().skip(3).collect();
    place.write("run/metrics.jsonl", kept.join("\n") + "\n");
    let told = stderr(&place.rappel(&resume("run", &[])));
    let lines = text.lines().count();
    let expected =
        format!("note: run/metrics.jsonl has {} of the {lines} lines up to step 24", lines - 3);
    assert!(told.contains(&expected), "{told}");
}

#[test]
fn another_instruction_set_is_told_of() {
    let place = Place::new();
    let run = |args: &[&str]| {
        let output = place.command(args).env("RAPPEL_SIMD", "plain").output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    run(&train("run", &[]));
    assert!(!run(&resume("run", &[])).contains("note:"));
    let told = stderr(&place.rappel(&resume("run", &[])));
    let best = rappel_level();
    let noted = told.contains("note: the checkpoint was computed with plain instructions");
    assert_eq!(noted, best != "plain", "{told}");
    assert!(!noted || told.contains("RAPPEL_SIMD=plain keeps to plain"), "{told}");
}

fn rappel_level() -> String {
    rappel_tensor::level().to_string()
}

#[test]
fn keys_are_taken_out_dropped_and_found_where_they_moved() {
    let place = Place::new();
    place.write("tiny.toml", CONFIG.replace("[train]", "[average]\nname = 'ema'\n\n[train]"));
    place.ok(&train("run", &["average=", "train.log_every="]));
    let config = place.read("run/config.toml");
    assert!(!config.contains("[average]") && config.contains("log_every = 10"), "{config}");
    let output = place.rappel(&train("rex", &["schedule.name=constant"]));
    assert!(output.status.success());
    let expected = "note: schedule.name = \"constant\" drops what the config gives to `cosine` alone: warmup_steps";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    for (setting, expected) in [
        (
            "train.document_attention=true",
            "`train.document_attention`: unknown; did you mean `data.document_attention`?",
        ),
        (
            "data.micro_batch_size=3",
            "`data.micro_batch_size`: unknown; did you mean `train.batch_size`?",
        ),
        ("model.lr=3", "`model.lr`: unknown; did you mean `optimizer.lr`?"),
    ] {
        let told = place.error(&train("never", &[setting]));
        assert!(told.contains(expected), "{setting}: {told}");
    }
}

#[test]
fn a_run_is_a_model_once_it_is_finished() {
    let place = Place::new();
    place.ok(&train("run", &[]));
    let [of_run, of_model] = ["run", "run/model"]
        .map(|model| place.ok(&["eval", "--model", model, "--file", "corpus.txt"]));
    assert_eq!(of_run, of_model);
    fs::remove_dir_all(place.at("run/model")).unwrap();
    for args in [
        ["eval", "--model", "run", "--file", "corpus.txt"],
        ["generate", "--model", "run", "--prompt", "x"],
    ] {
        let told = place.error(&args);
        assert!(told.contains("run is a run that has not written its model yet"), "{told}");
    }
}
