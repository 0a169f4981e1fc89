//! Schedules from configs: what is refused, and curves for any hyperparameter.

use rappel_registry::{ConfigError, Family, Field, Range, resolve};
use rappel_schedule::{Curve, Horizon, SCHEDULES, scheduled};

const HORIZON: Horizon = Horizon { steps: 100 };

fn factors(section: &str) -> Result<Curve, ConfigError> {
    let given = toml::from_str(section).expect("valid TOML");
    Curve::from_section(&SCHEDULES.resolve_options("schedule", &given)?, HORIZON)
}

const FIELDS: &[Field] =
    &[Field::new("weight_decay", scheduled(Range::from(0.0).to(0.5)), "0.1", "shrinkage")];

fn weight_decay(config: &str) -> Result<Curve, ConfigError> {
    let given = toml::from_str(config).expect("valid TOML");
    Curve::from_option(&resolve("optimizer", FIELDS, &given)?, "weight_decay", HORIZON)
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    for (section, expected) in [
        (
            "name = 'constant_with_warmup'\nwarmup_steps = 101",
            "config key `schedule.warmup_steps`: a warm-up of 101 steps is longer than the run of \
             100 steps; shorten it or train longer",
        ),
        (
            "name = 'linear'\nwarmup_steps = 50\nnum_training_steps = 40",
            "config key `schedule.num_training_steps`: a schedule of 40 steps ends within its \
             warm-up of 50 steps",
        ),
        (
            "name = 'cosine'\nnum_warmup_steps = 5",
            "config key `schedule.num_warmup_steps`: unknown; did you mean `warmup_steps`? \
             (known: name, warmup_steps, num_training_steps, num_cycles)",
        ),
        (
            "name = 'cosine_with_min_lr'",
            "config key `schedule.min_lr_rate`: missing; give float in [0, 1] (the floor, as a \
             fraction of the full learning rate)",
        ),
        (
            "name = 'cosin'",
            "config key `schedule.name`: no schedule is named `cosin`; did you mean `cosine`? (known: constant, \
             constant_with_warmup, cosine, cosine_with_min_lr, linear)",
        ),
    ] {
        assert_eq!(factors(section).unwrap_err().to_string(), expected);
    }
    assert!(factors("name = 'linear'\nwarmup_steps = 100").is_ok());
}

#[test]
fn a_run_longer_than_its_schedule_keeps_the_last_value() {
    for (section, last) in [
        ("name = 'linear'\nnum_training_steps = 40", 0.0),
        ("name = 'cosine'\nnum_training_steps = 40", 0.0),
        ("name = 'cosine_with_min_lr'\nnum_training_steps = 40\nmin_lr_rate = 0.25", 0.25),
    ] {
        let curve = factors(section).unwrap();
        assert!((40..100).all(|step| curve.at(step) == last), "{section}");
        assert!(curve.at(39) > last);
    }
}

#[test]
fn any_hyperparameter_takes_a_number_or_a_schedule() {
    assert_eq!(weight_decay("").unwrap().at(3), 0.1);
    assert_eq!(weight_decay("weight_decay = 0.2").unwrap().at(3), 0.2);
    let falling = weight_decay("weight_decay = { name = 'linear', value = 0.4 }").unwrap();
    assert_eq!([falling.at(0), falling.at(50), falling.at(100)], [0.4, 0.2, 0.0]);
}

#[test]
fn a_schedule_must_keep_the_range_of_its_hyperparameter() {
    let config = "weight_decay = { name = 'constant_with_warmup', warmup_steps = 10, value = 1 }";
    assert_eq!(
        weight_decay(config).unwrap_err().to_string(),
        "config key `optimizer.weight_decay`: the schedule gives 0.6 at step 6, out of [0, 0.5]"
    );
    let error = weight_decay("weight_decay = { name = 'linear' }").unwrap_err().to_string();
    assert!(error.starts_with("config key `optimizer.weight_decay.value`: missing"), "{error}");
}
