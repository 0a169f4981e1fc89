//! Runs that continue from another run's checkpoint, with another schedule.

mod common;

use std::fs;

use common::{Place, stderr};

/// Warm-up until step 4, a plateau, a tail over the last 6 steps.
fn schedule(tail: &str) -> String {
    format!(
        "schedule={{ name = 'warmup_stable_decay', warmup_steps = 4, num_decay_steps = 6, \
         decay_type = '{tail}', min_lr_ratio = 0.1 }}"
    )
}

fn train<'a>(out: &'a str, steps: &'a str, schedule: &'a str) -> Vec<&'a str> {
    let keep = ["--set", "checkpoint.keep=9", "--set", schedule, "--set", steps];
    [&["train", "tiny.toml", "--out", out], &keep[..]].concat()
}

/// A tail that begins at a checkpoint of a plateau is, to the bit, that of a run that had planned it.
#[test]
fn a_plateau_ends_in_a_tail_at_any_of_its_checkpoints() {
    let place = Place::new();
    for tail in ["linear", "cosine", "1-sqrt"] {
        let name = |run: &str| format!("{tail}-{run}");
        let (plateau, planned, branch) = (name("plateau"), name("planned"), name("branch"));
        let schedule = schedule(tail);
        place.ok(&train(&plateau, "train.steps=24", &schedule));
        place.ok(&train(&planned, "train.steps=16", &schedule));
        let from = format!("{plateau}/checkpoints/step-10");
        let args = train(&branch, "train.steps=16", &schedule);
        place.ok(&[&args[..], &["--from", &from]].concat());
        assert_eq!(place.model(&branch), place.model(&planned), "{tail}");
        assert_ne!(place.model(&branch), place.model(&plateau), "{tail}");
        let text = place.read(&format!("{branch}/metrics.jsonl"));
        assert!(text.lines().next().unwrap().starts_with("{\"step\":11,"), "{text}");
    }
}

#[test]
fn killed_before_its_first_checkpoint_a_branch_begins_there_again() {
    let place = Place::new();
    let schedule = schedule("1-sqrt");
    place.ok(&train("plateau", "train.steps=24", &schedule));
    let args = train("branch", "train.steps=26", &schedule);
    // Its newest is step 24, which lies in the tail: any checkpoint will do.
    place.ok(&[&args[..], &["--from", "plateau"]].concat());
    let whole = (place.model("branch"), place.read("branch/metrics.jsonl").lines().count());
    fs::remove_dir_all(place.at("branch/checkpoints")).unwrap();
    fs::remove_dir_all(place.at("branch/model")).unwrap();
    place.ok(&["train", "--resume", "branch"]);
    let again = (place.model("branch"), place.read("branch/metrics.jsonl").lines().count());
    assert_eq!(again, whole);
    assert_eq!(whole.1, 2 + 1);
}

/// The run that it began at may do what it likes: the derived one has the checkpoint itself.
#[test]
fn a_branch_has_the_checkpoint_that_it_began_at_for_good() {
    let place = Place::new();
    let schedule = schedule("linear");
    place.ok(&train("plateau", "train.steps=24", &schedule));
    let args = train("branch", "train.steps=30", &schedule);
    place.ok(&[&args[..], &["--from", "plateau"]].concat());
    assert_eq!(place.names("branch/checkpoints"), ["step-24", "step-25", "step-30"]);
    let whole = place.model("branch");
    let config = place.read("branch/config.toml");
    assert!(config.contains("plateau/checkpoints/step-24\"\nfrom_sha256 = \""), "{config}");
    // As if it had been killed at its beginning, and the other one were gone.
    fs::rename(place.at("plateau"), place.at("moved")).unwrap();
    for step in ["step-25", "step-30"] {
        fs::remove_dir_all(place.at("branch/checkpoints").join(step)).unwrap();
    }
    fs::remove_dir_all(place.at("branch/model")).unwrap();
    place.ok(&["train", "--resume", "branch"]);
    assert_eq!(place.model("branch"), whole);
}

/// Killed before even that was copied, a derived run begins at the very checkpoint or not at all.
#[test]
fn without_its_own_a_branch_begins_at_the_very_checkpoint() {
    let place = Place::new();
    let constant = "schedule={ name = 'constant' }";
    place.ok(&train("plateau", "train.steps=24", constant));
    let args = train("branch", "train.steps=30", constant);
    place.ok(&[&args[..], &["--from", "plateau"]].concat());
    let whole = place.model("branch");
    place.ok(&["train", "--resume", "plateau", "--set", "train.steps=28"]);
    let killed = || {
        fs::remove_dir_all(place.at("branch/checkpoints")).unwrap();
        place.rappel(&["train", "--resume", "branch"])
    };
    assert!(killed().status.success());
    assert_eq!(place.model("branch"), whole, "not the newer one");
    let origin = place.at("plateau/checkpoints/step-24");
    let manifest = fs::read_to_string(origin.join("manifest.json")).unwrap();
    fs::remove_dir_all(&origin).unwrap();
    let gone = killed();
    assert_eq!(gone.status.code(), Some(1));
    let told = stderr(&gone);
    assert!(
        told.contains("config key `from`: the run begins at ") && told.contains("step-24, which"),
        "{told}"
    );
    // Another run's checkpoint of that step.
    let other = train("other", "train.steps=24", constant);
    place.ok(&[&other[..], &["--set", "seed=8"]].concat());
    fs::create_dir_all(&origin).unwrap();
    for file in fs::read_dir(place.at("other/checkpoints/step-24")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), origin.join(file.file_name())).unwrap();
    }
    assert_ne!(fs::read_to_string(origin.join("manifest.json")).unwrap(), manifest);
    let told = place.error(&["train", "--resume", "branch"]);
    assert!(
        told.contains("config key `from_sha256`: ") && told.contains("is not the checkpoint that"),
        "{told}"
    );
}

#[test]
fn what_cannot_be_gone_on_from_is_refused_with_nothing_written() {
    let place = Place::new();
    let schedule = schedule("linear");
    place.ok(&train("plateau", "train.steps=24", &schedule));
    for (from, more, expected) in [
        (
            "plateau",
            "train.steps=24",
            "step-24 is at step 24, and the run ends at 24; give more steps",
        ),
        ("plateau/model", "train.steps=30", "model has no checkpoint; give the directory of a run"),
        ("nowhere", "train.steps=30", "nowhere has no checkpoint"),
        ("plateau/checkpoints/step-7", "train.steps=30", "step-7"),
        ("plateau", "model.n_embd=32", "wte"),
        ("plateau", "optimizer.name=lion", "exp_avg_sq"),
    ] {
        let steps = if more.starts_with("train") { more } else { "train.steps=30" };
        let args = train("never", steps, &schedule);
        let told = place.error(&[&args[..], &["--set", more, "--from", from]].concat());
        assert!(told.contains(expected), "{expected}: {told}");
        assert!(!place.at("never").exists());
    }
}
