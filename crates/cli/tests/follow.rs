//! Learning rates that follow the validations, in whole and in resumed runs.

mod common;

use std::fs;

use common::Place;

/// Nothing improves by nine tenths, so that each validation but the first one halves the rate.
const SETTINGS: [&str; 8] = [
    "--set",
    "schedule={ name = 'chained', schedules = [\
     { name = 'constant_with_warmup', warmup_steps = 4 }, \
     { name = 'reduce_lr_on_plateau', patience = 0, threshold = 0.9, factor = 0.5, min_lr = 0.00125 }] }",
    "--set",
    "train.eval_every=3",
    "--set",
    "checkpoint.keep=9",
    "--set",
    "checkpoint.every=1",
];

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "tiny.toml", "--out", out], &SETTINGS[..], more].concat()
}

/// The learning rate of each step.
fn rates(place: &Place, run: &str) -> Vec<f64> {
    let text = place.read(&format!("{run}/metrics.jsonl"));
    let rate = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["train/lr"].as_f64()
    };
    text.lines().filter_map(rate).collect()
}

#[test]
fn a_plateau_lowers_the_rate_after_a_warm_up() {
    let place = Place::new();
    place.ok(&train("run", &["--set", "train.steps=18"]));
    let mut expected = vec![0.0, 0.0025, 0.005, 0.0075, 0.01, 0.01];
    for (factor, steps) in [(0.5, 3), (0.25, 3), (0.125, 6)] {
        expected.extend(vec![0.01 * factor; steps]);
    }
    assert_eq!(rates(&place, "run"), expected);
}

#[test]
fn a_resumed_run_follows_the_validations_before_it() {
    let place = Place::new();
    for schedule in ["reduce_lr_on_plateau", "greedy"] {
        let schedule = format!(
            "schedule={{ name = '{schedule}', patience = 0, threshold = 0.3, \
             threshold_mode = 'rel', factor = 0.7 }}"
        );
        let more = ["--set", "train.steps=12", "--set", &schedule];
        place.ok(&train("whole", &more));
        let (whole, steps) = (place.model("whole"), rates(&place, "whole"));
        assert!(steps.iter().any(|rate| *rate != 0.01), "{steps:?}");
        // As if it had been killed after its eighth step.
        for name in place.names("whole/checkpoints") {
            let step: u64 = name.strip_prefix("step-").unwrap().parse().unwrap();
            if step > 8 {
                fs::remove_dir_all(place.at(format!("whole/checkpoints/{name}"))).unwrap();
            }
        }
        fs::remove_dir_all(place.at("whole/model")).unwrap();
        place.ok(&["train", "--resume", "whole"]);
        assert_eq!((place.model("whole"), rates(&place, "whole")), (whole, steps), "{schedule}");
        fs::remove_dir_all(place.at("whole")).unwrap();
    }
}

#[test]
fn what_cannot_be_followed_is_refused_before_anything_is_written() {
    let place = Place::new();
    for (settings, expected) in [
        (
            vec!["schedule={ name = 'greedy' }", "train.eval_every=0"],
            "config key `train.eval_every`: the schedule follows the validations, and 0 means one",
        ),
        (
            vec!["schedule={ name = 'greedy', metric = 'los' }", "train.eval_every=3"],
            "config key `schedule.metric`: the task measures no `los`; did you mean `loss`?",
        ),
        (
            vec![
                "schedule={ name = 'greedy' }",
                "train.eval_every=3",
                "data.validation_fraction=0",
            ],
            "config key `schedule.name`: there is no validation data to follow",
        ),
        (
            vec!["schedule={ name = 'scale', factor = 2, schedule = { name = 'greedy' } }"],
            "config key `schedule.schedule.name`: follows the validations, so it stands only as",
        ),
        (
            vec!["optimizer.weight_decay={ name = 'greedy', value = 0.1 }"],
            "config key `optimizer.weight_decay.name`: follows the validations",
        ),
    ] {
        let mut args = vec!["train", "tiny.toml", "--out", "never"];
        for setting in &settings {
            args.extend(["--set", setting]);
        }
        let told = place.error(&args);
        assert!(told.contains(expected), "{told}");
        assert!(!place.at("never").exists());
    }
}
