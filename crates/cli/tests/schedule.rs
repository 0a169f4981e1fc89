//! `rappel schedule`: what is drawn is what a run would do.

mod common;

use common::{Place, stderr};

const CONFIG: &str = r#"
[optimizer]
name = "adamw"
lr = 0.1
weight_decay = { name = "cosine_annealing", value = 0.5, eta_min = 0.1 }
betas = [{ name = "cyclic", base_lr = 0.95, max_lr = 0.85, step_size_up = 4 }, 0.999]
groups = [
    { params = ["*.bias"], weight_decay = 0.0 },
    { params = ["head.*"], lr = 0.4 },
]

[schedule]
name = "linear"
warmup_steps = 2

[train]
steps = 10
"#;

#[test]
fn csv_holds_every_value_at_every_step_to_the_last_digit() {
    let place = Place::new();
    place.write("run.toml", CONFIG);
    let text = place.ok(&["schedule", "run.toml", "--csv"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "step,lr,betas[0],weight_decay,groups[1].lr");
    assert_eq!(lines.len(), 11);
    let row = |step: usize| -> Vec<f64> {
        lines[step + 1].split(',').map(|value| value.parse().unwrap()).collect()
    };
    assert_eq!(row(0), [0.0, 0.0, 0.95, 0.5, 0.0]);
    assert_eq!(row(1), [1.0, 0.5 * 0.1, 0.95 - (0.95 - 0.85) * 0.25, row(1)[3], 0.5 * 0.4]);
    assert_eq!(row(4)[1], 0.1 * 0.75);
    assert!((row(5)[3] - 0.3).abs() < 1e-15);
    assert!((row(4)[2] - 0.85).abs() < 1e-15);
    let digits = lines[2].split(',').nth(3).unwrap().split('e').next().unwrap();
    assert_eq!(digits.chars().filter(char::is_ascii_digit).count(), 17, "{text}");
}

#[test]
fn a_chart_says_where_the_ends_are() {
    let place = Place::new();
    let text = place.ok(&["schedule", "tiny.toml"]);
    assert!(text.starts_with("lr: at least 0 at step 0, at most 0.01 at step 4\n"), "{text}");
    assert!(text.contains("   1.000e-2 |") && text.contains('⣀'), "{text}");
    assert!(text.ends_with(" 23\n"), "{text}");
    let norm = "train.max_grad_norm={ name = 'linear', value = 2 }";
    let text = place.ok(&["schedule", "tiny.toml", "--set", norm]);
    assert!(text.contains("\ntrain.max_grad_norm: at least 0.08333"), "{text}");
    let output = place.rappel(&["schedule", "tiny.toml", "--set", "schedule={ name = 'greedy' }"]);
    assert!(
        stderr(&output).starts_with("note: learning rates also follow the validations, by greedy")
    );
    let dropped = "regularize=[{ name = 'label_smoothing', label_smoothing = 0.1 }, { name = 'dropout', p = { name = 'cosine', value = 0.5 } }]";
    let text = place.ok(&["schedule", "tiny.toml", "--set", dropped]);
    assert!(text.contains("\nregularize[1].p: at least 0.00213"), "{text}");
    assert!(!text.contains("regularize[0]"), "{text}");
    let text = place.ok(&[
        "schedule",
        "tiny.toml",
        "--set",
        "train.batch_size={ name = 'linear_lr', value = 8 }",
    ]);
    assert!(text.contains("train.batch_size"), "{text}");
    let text = place.ok(&["schedule", "tiny.toml", "--set", "schedule={ name = 'constant' }"]);
    assert_eq!(text, "lr: 0.01 at all 24 steps\n");
}

#[test]
fn the_length_comes_from_the_config_or_the_command() {
    let place = Place::new();
    place.write("short.toml", "optimizer = { name = 'sgd', lr = 1 }\nschedule.name = 'linear'");
    let text = place.ok(&["schedule", "short.toml", "--steps", "4", "--csv"]);
    assert_eq!(text.lines().count(), 5);
    assert!(text.ends_with("3,2.5000000000000000e-1\n"), "{text}");
    let told = place.error(&["schedule", "short.toml"]);
    assert!(
        told.contains("config key `train.steps`: missing") && told.contains("--steps"),
        "{told}"
    );
}

#[test]
fn what_cannot_be_is_told_before_anything_is_drawn() {
    let place = Place::new();
    for (setting, expected) in [
        ("schedule.name=cosin", "no schedule is named `cosin`; did you mean `cosine`?"),
        ("schedule.warmup_steps=25", "a warm-up of 25 steps is longer than the run of 24 steps"),
        (
            "schedule={ name = 'exponential', gamma = 1e300 }",
            "config key `schedule.name`: the schedule gives inf at step 2",
        ),
    ] {
        let output = place.rappel(&["schedule", "tiny.toml", "--csv", "--set", setting]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let told = stderr(&output);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_picture_has_a_part_for_each_value() {
    let place = Place::new();
    place.write("run.toml", CONFIG);
    place.ok(&["schedule", "run.toml", "--png", "all.png"]);
    let bytes = std::fs::read(place.at("all.png")).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    let size = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((size(16), size(20)), (860, 4 * 250));
    place.ok(&["schedule", "run.toml", "--png", "all.svg"]);
    let text = std::fs::read_to_string(place.at("all.svg")).unwrap();
    for name in ["lr", "betas[0]", "weight_decay", "groups[1].lr", "step"] {
        assert!(text.contains(&format!(">{name}</text>")), "{text}");
    }
    let told = place.error(&["schedule", "run.toml", "--png", "all.gif"]);
    assert!(told.contains("all.gif: a picture's name ends in .png or .svg"), "{told}");
}

#[test]
fn a_run_refuses_what_cannot_be_before_anything_is_written() {
    let place = Place::new();
    for (setting, expected) in [
        ("schedule={ name = 'cosin' }", "no schedule is named `cosin`; did you mean `cosine`?"),
        (
            "schedule={ name = 'warmup_stable_decay', num_stable_steps = 20, num_decay_steps = 5 }",
            "0 + 20 + 5 steps do not add up to the 24 of the schedule; 19 would",
        ),
        (
            "schedule={ name = 'lambda', lr_lambda = '0.9 ** (step' }",
            "the formula ends where `)` is wanted",
        ),
        (
            "schedule={ name = 'lambda', lr_lambda = '1 - step / 8' }",
            "config key `schedule.lr_lambda`: the schedule gives -0.125 at step 9",
        ),
        (
            "optimizer.weight_decay={ name = 'linear', value = -0.1 }",
            "config key `optimizer.weight_decay`: the schedule gives -0.1 at step 0",
        ),
        (
            "train.max_grad_norm={ name = 'cyclic', base_lr = 1, max_lr = -1, step_size_up = 4 }",
            "config key `train.max_grad_norm`: the schedule gives -0.5 at step 3",
        ),
    ] {
        let told = place.error(&["train", "tiny.toml", "--out", "never", "--set", setting]);
        assert!(told.contains(expected), "{told}");
        assert!(!place.at("never").exists());
    }
}

#[test]
fn what_regularizers_vary_is_drawn() {
    let place = Place::new();
    let list = "regularize=[{ name = \"dropout\", p = { name = \"linear\", value = 0.2 } }]";
    let told = place.ok(&["schedule", "tiny.toml", "--csv", "--steps", "4", "--set", list]);
    let head = told.lines().next().unwrap();
    assert!(head.ends_with(",regularize[0].p"), "{head}");
    let last: Vec<f64> =
        told.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect();
    assert_eq!(last, [0.2, 0.15000000000000002, 0.1, 0.05]);
}

#[test]
fn a_run_too_long_to_look_at_is_refused_at_once() {
    let place = Place::new();
    let output = place.rappel(&["schedule", "tiny.toml", "--set", "train.steps=4294967295"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("give a shorter run as --steps"), "{}", stderr(&output));
}
