//! Schedules from configs: what is refused, and curves for any hyperparameter.

use rappel_config::{ConfigError, Family, OptionSet, Options, resolve};
use rappel_schedule::{Horizon, SCHEDULES, Schedule};

const HORIZON: Horizon = Horizon { steps: 100 };

fn factors(section: &str) -> Result<Schedule, ConfigError> {
    let given = toml::from_str(section).expect("valid TOML");
    Schedule::from_section(&SCHEDULES.resolve_options("schedule", &given)?, HORIZON, 1.0)
}

#[derive(Options)]
struct Decay {
    /// shrinkage
    #[option(default = 0.1, range = 0.0..=0.5)]
    weight_decay: Schedule,
}

fn weight_decay(config: &str) -> Result<Schedule, ConfigError> {
    let given = toml::from_str(config).expect("valid TOML");
    let options = resolve("optimizer", Decay::FIELDS, &given)?;
    Ok(Decay::read_over(&options, Some(HORIZON))?.weight_decay)
}

/// The error begins so; what is known at a place may follow.
#[track_caller]
fn refused(section: &str, expected: &str) {
    let error = factors(section).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{section}\n{error}\nwanted\n{expected}");
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
            "name = 'cosine'\nnum_warmup_step = 5",
            "config key `schedule.num_warmup_step`: unknown; did you mean `warmup_steps`? \
             (known: name, warmup_steps, num_training_steps, num_cycles)",
        ),
        (
            "name = 'cosine_with_min_lr'",
            "config key `schedule.min_lr`: missing; give min_lr or min_lr_rate",
        ),
        (
            "name = 'cosin'",
            "config key `schedule.name`: no schedule is named `cosin`; did you mean `cosine`?",
        ),
    ] {
        refused(section, expected);
    }
    assert!(factors("name = 'linear'\nwarmup_steps = 100").is_ok());
}

#[test]
fn phases_must_add_up() {
    for (section, expected) in [
        (
            "name = 'warmup_stable_decay'\nwarmup_steps = 60\nnum_decay_steps = 41",
            "config key `schedule.num_decay_steps`: 60 steps of warm-up and 41 of decay are more than \
             the 100 of the schedule",
        ),
        (
            "name = 'warmup_stable_decay'\nnum_stable_steps = 50\nnum_decay_steps = 41",
            "config key `schedule.num_stable_steps`: 0 + 50 + 41 steps do not add up to the 100 of the \
             schedule; 59 would, or set num_training_steps",
        ),
        (
            "name = 'one_cycle'\nmax_lr = 1\ntotal_steps = 99",
            "config key `schedule.total_steps`: the cycle of 99 steps is over before the run of 100 steps",
        ),
        (
            "name = 'one_cycle'\nmax_lr = 1\nthree_phase = true\npct_start = 0.7",
            "config key `schedule.pct_start`: 0.7 up and as much down leaves no steps of 100 to end in",
        ),
        (
            "name = 'sequential'\nmilestones = [3]\nschedules = [{ name = 'constant' }]",
            "config key `schedule.milestones`: 1 schedules want 0 milestones, got 1",
        ),
        (
            "name = 'sequential'\nmilestones = [101]\n\
             schedules = [{ name = 'constant' }, { name = 'linear' }]",
            "config key `schedule.milestones`: the schedule from step 101 on never comes in a run of \
             100 steps",
        ),
        (
            "name = 'sequential'\nmilestones = [90]\n\
             schedules = [{ name = 'constant' }, { name = 'linear', warmup_steps = 11 }]",
            "config key `schedule.schedules[1].warmup_steps`: a warm-up of 11 steps is longer than the \
             run of 10 steps",
        ),
        (
            "name = 'multistep'\nmilestones = [5, 3]",
            "config key `schedule.milestones`: expected a list of rising steps from 0, got [5, 3]",
        ),
        (
            "name = 'chained'\nschedules = []",
            "config key `schedule.schedules`: expected a list of at least one schedule table, got []",
        ),
        (
            "name = 'chained'\nschedules = [{ name = 'linear', value = 2 }]",
            "config key `schedule.schedules[0].value`: unknown (known: name, warmup_steps",
        ),
        (
            "name = 'polynomial'\nlr_end = 1.5",
            "config key `schedule.lr_end`: must be smaller than what the schedule starts from",
        ),
    ] {
        refused(section, expected);
    }
}

#[test]
fn a_learning_rate_must_not_be_negative_or_infinite() {
    refused(
        "name = 'cyclic'\nbase_lr = 0.5\nmax_lr = -0.5\nstep_size_up = 10",
        "config key `schedule.name`: the schedule gives -0.10000000000000009 at step 6, where a learning \
         rate takes a finite factor from 0",
    );
    refused(
        "name = 'exponential'\ngamma = 1e10",
        "config key `schedule.name`: the schedule gives inf at step 31, where",
    );
}

#[test]
fn a_formula_must_parse_and_stay_a_rate() {
    let lambda = |formula: &str| format!("name = 'lambda'\nlr_lambda = \"{formula}\"");
    for (formula, expected) in [
        (
            "0.95 **",
            "config key `schedule.lr_lambda`: \"0.95 **\" is not a valid formula: the formula ends where a number, a \
             name or `(` is wanted",
        ),
        (
            "0.95 ** epoc",
            "config key `schedule.lr_lambda`: \"0.95 ** epoc\" is not a valid formula: `epoc` is not known here",
        ),
        (
            "1 - step / 50",
            "config key `schedule.lr_lambda`: the schedule gives -0.020000000000000018 at step 51, where a \
             learning rate takes a finite factor from 0",
        ),
        (
            "1 / (step - 7) ** 2",
            "config key `schedule.lr_lambda`: the schedule gives inf at step 7",
        ),
        ("sqrt(30 - step)", "config key `schedule.lr_lambda`: the schedule gives NaN at step 31"),
    ] {
        refused(&lambda(formula), expected);
    }
    refused(
        "name = 'multiplicative'\nlr_lambda = '2 +'",
        "config key `schedule.lr_lambda`: \"2 +\" is not a valid formula: the formula ends where a number",
    );
    let inline = "weight_decay = { name = 'lambda', value = 1, lr_lambda = '0.01 * step' }";
    let error = weight_decay(inline).unwrap_err().to_string();
    let expected =
        "config key `optimizer.weight_decay`: the schedule gives 0.51 at step 51, out of [0, 0.5]";
    assert_eq!(error, expected);
}

#[test]
fn combinators_change_what_stands_within_them() {
    let within = "schedule = { name = 'linear', warmup_steps = 20 }";
    let at = |head: &str, steps: &[u64]| -> Vec<f64> {
        let curve = factors(&format!("{head}\n{within}")).unwrap();
        steps.iter().map(|step| curve.at(*step)).collect()
    };
    assert_eq!(at("name = 'scale'\nfactor = 3", &[0, 10, 60]), [0.0, 1.5, 1.5]);
    assert_eq!(at("name = 'floor'\nfloor = 0.5", &[0, 20, 60, 100]), [0.5, 1.0, 0.75, 0.5]);
    assert_eq!(at("name = 'clamp'\nmin = 0.2\nmax = 0.6", &[0, 20, 60]), [0.2, 0.6, 0.5]);
    assert_eq!(at("name = 'restarted'\nevery = 40", &[10, 30, 50, 70]), [0.5; 4]);
    refused(
        "name = 'clamp'\nmin = 2\nmax = 1\nschedule = { name = 'constant' }",
        "config key `schedule.min`: 2 is above max, 1",
    );
    refused(
        "name = 'restarted'\nevery = 19\nschedule = { name = 'linear', warmup_steps = 20 }",
        "config key `schedule.schedule.warmup_steps`: a warm-up of 20 steps is longer than the run of 19",
    );
    refused(
        "name = 'scale'\nfactor = 1\nschedule = 'linear'",
        "config key `schedule.schedule`: expected a schedule table",
    );
}

#[test]
fn inline_a_value_is_a_value() {
    let curve = weight_decay(
        "weight_decay = { name = 'cosine_annealing', value = 0.4, eta_min = 0.1, t_max = 50 }",
    );
    let curve = curve.unwrap();
    assert_eq!((curve.at(0), curve.at(50)), (0.4, 0.1));
    // Those whose options are the values need none more.
    let one_cycle = "weight_decay = { name = 'one_cycle', max_lr = 0.3 }";
    assert_eq!(weight_decay(one_cycle).unwrap().at(29), 0.3);
    let error = weight_decay("weight_decay = { name = 'polynomial', value = 0 }").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("what the schedule multiplies is 0, so that only 0 can be given here")
    );
}

#[test]
fn a_piece_of_a_sequence_ends_with_its_piece() {
    let curve = factors(
        "name = 'sequential'\nmilestones = [40]\n\
         schedules = [{ name = 'linear' }, { name = 'linear', warmup_steps = 20 }]",
    );
    let curve = curve.unwrap();
    assert_eq!([curve.at(20), curve.at(40), curve.at(50), curve.at(80)], [0.5, 0.0, 0.5, 0.5]);
}

#[test]
fn a_plateau_does_not_depend_on_where_the_tail_begins() {
    let config = |decay| {
        format!("name = 'warmup_stable_decay'\nwarmup_steps = 9\nnum_decay_steps = {decay}")
    };
    let (soon, late) = (factors(&config(60)).unwrap(), factors(&config(20)).unwrap());
    assert!((0..=40).all(|step| soon.at(step) == late.at(step)));
    assert!(soon.at(41) < 1.0 && late.at(80) == 1.0 && late.at(81) < 1.0);
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

/// Libraries mean different things by a warm-up, so that each schedule says what it means.
#[test]
fn every_schedule_names_its_warm_up() {
    for info in SCHEDULES.infos() {
        let told = info.more.about.contains("arm-up");
        let option = info.fields.iter().any(|field| field.name == "warmup_steps");
        assert!(told || option, "{}", info.name);
    }
}
