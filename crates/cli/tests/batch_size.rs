//! Batch, mini-batch and stochastic descent, and ramps between them, through the binary.

mod common;

use common::Place;
use serde_json::Value;

const RAMP: &str = "train.batch_size={ name = \"linear_lr\", value = 24, start_factor = 0.125, \
                    total_iters = 20 }";
/// 33 samples.
const SMALL: &str = "data.max_bytes=600";

fn train<'a>(run: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    common::train("tiny.toml", run, settings)
}

fn values(place: &Place, run: &str, key: &str) -> Vec<f64> {
    let text = place.read(&format!("{run}/metrics.jsonl"));
    let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()[key].as_f64();
    text.lines().filter_map(value).collect()
}

/// A run that continues from its checkpoint of step 10 ends on the same model.
fn resumes(place: &Place, run: &str, settings: &[&str]) {
    place.ok(&train(run, &[settings, &["checkpoint.keep=9"]].concat()));
    let model = place.model(run);
    for checkpoint in place.names(&format!("{run}/checkpoints")) {
        if checkpoint != "step-10" {
            std::fs::remove_dir_all(place.at(run).join("checkpoints").join(checkpoint)).unwrap();
        }
    }
    std::fs::remove_dir_all(place.at(run).join("model")).unwrap();
    place.ok(&["train", "--resume", run]);
    assert_eq!(place.model(run), model, "{settings:?}");
}

#[test]
fn ramps_and_draws_resume_to_the_same_bits() {
    let place = Place::new();
    resumes(&place, "ramp", &[RAMP, SMALL]);
    resumes(&place, "replaced", &[RAMP, SMALL, "data.replacement=true", "data.drop_last=true"]);
    resumes(&place, "all", &["train.batch_size=all", SMALL]);
    assert_ne!(place.model("ramp"), place.model("replaced"));
}

#[test]
fn the_record_shows_a_ramp_and_so_does_the_schedule() {
    let place = Place::new();
    let whole = "data.drop_last=true";
    place.ok(&train("run", &[RAMP, whole, "train.gradient_accumulation_steps=2"]));
    // From 3 to 24 in 20 steps, each of two forward passes.
    let size = |step: u32| 2.0 * (24.0 * (0.125 + 0.875 * f64::from(step.min(20)) / 20.0)).round();
    let expected: Vec<f64> = (0..24).map(size).collect();
    assert_eq!(values(&place, "run", "train/batch_size"), expected);
    let csv = place.ok(&["schedule", "tiny.toml", "--csv", "--set", RAMP]);
    let mut lines = csv.lines();
    assert!(lines.next().is_some_and(|names| names.ends_with(",train.batch_size")), "{csv}");
    let last = |line: &str| line.rsplit(',').next().unwrap().parse::<f64>().unwrap() * 2.0;
    assert_eq!(lines.map(last).collect::<Vec<_>>(), expected);
}

#[test]
fn all_sees_every_sample_in_each_step_whatever_the_parts() {
    let place = Place::new();
    let exact = ["model.dtype=float64", "model.dropout=0", SMALL];
    let one = ["train.batch_size=all"];
    let parts = ["train.batch_size=all", "train.gradient_accumulation_steps=3"];
    let ordered = ["train.batch_size=all", "data.shuffle=false"];
    for (run, settings) in [("one", &one[..]), ("parts", &parts), ("ordered", &ordered)] {
        place.ok(&train(run, &[&exact, settings].concat()));
    }
    let losses = |run| values(&place, run, "train/loss");
    for other in ["parts", "ordered"] {
        for (a, b) in losses("one").iter().zip(losses(other)) {
            assert!((a - b).abs() < 1e-9 * a, "{other}: {a} {b}");
        }
    }
    let epochs = common::CONFIG.replace("steps = 24", "epochs = 9");
    place.write("tiny.toml", epochs);
    let told = place.json(&[&train("epochs", &[one[0], SMALL])[..], &["--json"]].concat());
    assert_eq!(told["steps"], 9);
}

#[test]
fn epochs_of_a_ramp_end_with_the_data() {
    let place = Place::new();
    place.write("tiny.toml", common::CONFIG.replace("steps = 24", "epochs = 3"));
    // It doubles at the middle of the run, wherever that is.
    let half =
        "train.batch_size={ name = \"lambda\", value = 2, lr_lambda = \"1 + (step >= 20)\" }";
    let told = place.json(&[&train("run", &[half, SMALL])[..], &["--json"]].concat());
    let sizes = values(&place, "run", "train/batch_size");
    assert_eq!(told["steps"].as_u64(), Some(sizes.len() as u64));
    // Three passes over the same number of samples, each ended by what is left.
    let samples: f64 = sizes.iter().sum();
    assert_eq!(samples % 3.0, 0.0, "{sizes:?}");
    assert!(sizes[..20].iter().all(|size| *size <= 2.0) && sizes[20] > 2.0, "{sizes:?}");
}

#[test]
fn the_noise_scale_is_measured_and_nothing_changes() {
    let place = Place::new();
    let parts = ["train.gradient_accumulation_steps=4", "train.batch_size=2"];
    let measured = [&parts[..], &["train.noise_scale=true"]].concat();
    place.ok(&train("plain", &parts));
    resumes(&place, "measured", &measured);
    assert_eq!(place.model("measured"), place.model("plain"));
    let (scales, losses) =
        (values(&place, "measured", "train/noise_scale"), values(&place, "measured", "train/loss"));
    assert!(scales.len() > 20 && scales.iter().all(|scale| scale.is_finite()), "{scales:?}");
    assert_eq!(losses, values(&place, "plain", "train/loss"));
    place.ok(&train("whole", &measured));
    assert_eq!(scales, values(&place, "whole", "train/noise_scale"));
    let told = place.error(&train("one", &["train.noise_scale=true"]));
    assert!(told.contains("`train.noise_scale`: it is measured between the parts"), "{told}");
}

#[test]
fn tables_are_descended_in_all_ways_too() {
    let place = Place::new();
    let row = |i: usize| format!("{},{},{}\n", i % 7, i * i % 11, 3 * (i % 7) + i * i % 11);
    place.write("table.csv", "a,b,y\n".to_owned() + &(0..60).map(row).collect::<String>());
    place.write(
        "tiny.toml",
        "task = 'regression'\ndata = { file = 'table.csv', target = 'y' }\nmodel.name = 'linear'\n\
         optimizer = { name = 'sgd', lr = 0.1 }\ntrain = { steps = 24, log_every = 1 }\n\
         checkpoint.every = 5",
    );
    let replaced = ["train.batch_size=1", "data.replacement=true"];
    for (run, settings) in
        [("all", &["train.batch_size=all"][..]), ("one", &replaced), ("ramp", &[RAMP])]
    {
        resumes(&place, run, settings);
    }
    let sizes = values(&place, "ramp", "train/batch_size");
    assert_eq!((sizes[0], sizes[1]), (3.0, 4.0));
    // Without noise, and with a step that is short enough, the loss falls at each step.
    let losses = values(&place, "all", "train/loss");
    assert!(losses.len() == 24 && losses.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
    let told = place.error(&train(
        "none",
        &[
            "train.batch_size={ name = \"lambda\", value = 1, lr_lambda = \"30 + step\" }",
            "data.drop_last=true",
        ],
    ));
    assert!(
        told.contains("`train.batch_size`: step 19 takes 49 samples, but there are 48")
            && told.contains("drop_last = true drops"),
        "{told}"
    );
    assert!(!place.at("none").exists());
}
