//! What a step spoiled is never saved: the checkpoints before it stay.

mod common;

use common::Place;

#[test]
fn one_step_that_overflows_saves_nothing_and_fails() {
    let place = Place::new();
    let told = place.error(&[
        "train",
        "tiny.toml",
        "--out",
        "run",
        "--set",
        "optimizer.lr=1e308",
        "--set",
        "train.steps=1",
        "--set",
        "schedule={ name = 'constant' }",
    ]);
    assert!(
        told.contains("error: step 1 left the parameter ") && told.contains(" not finite"),
        "{told}"
    );
    assert!(told.contains("there is no earlier checkpoint: lower the learning rate"), "{told}");
    assert!(!place.at("run/model").exists() && !place.at("run/checkpoints/step-1").exists());
}

#[test]
fn a_spike_at_the_end_leaves_the_checkpoint_before_it() {
    let place = Place::new();
    let told = place.error(&[
        "train",
        "tiny.toml",
        "--out",
        "run",
        "--set",
        "checkpoint.keep=1",
        "--set",
        "schedule={ name = 'lambda', lr_lambda = '1 + 1e300 * (step == 23)' }",
    ]);
    assert!(told.contains("step 24 left the parameter "), "{told}");
    let kept =
        "the newest checkpoint is run/checkpoints/step-20: lower the learning rate from there on";
    assert!(told.contains(kept), "{told}");
    assert!(!place.at("run/model").exists());
    assert_eq!(place.names("run/checkpoints"), ["step-20"]);
    let onward = ["train", "tiny.toml", "--out", "onward", "--from", "run/checkpoints/step-20"];
    place.ok(&onward);
}
