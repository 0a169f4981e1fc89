//! Options that are learning rates, for groups with rates of their own.

use rappel_config::Family;
use rappel_schedule::{Feedback, Horizon, SCHEDULES, Schedule};
use rappel_testkit::Golden;
use serde_json::{Map, Value};

#[test]
fn options_that_are_learning_rates_are_those_of_the_original() {
    let golden = Golden::load("schedules_lr");
    let (lrs, losses): (Vec<f64>, Vec<f64>) = (golden.meta("lrs"), golden.meta("losses"));
    let configs: Map<String, Value> = golden.meta("configs");
    assert_eq!(configs.len(), 8);
    for (case, config) in configs {
        let given = toml::Table::try_from(&config).unwrap();
        let options = SCHEDULES.resolve_options("schedule", &given).unwrap();
        let (shape, expected) = golden.f64(&case);
        let steps = shape[1];
        for (lr, expected) in lrs.iter().zip(expected.chunks(steps)) {
            let curve =
                Schedule::from_section(&options, Horizon { steps: steps as u64 }, *lr).unwrap();
            let feedback = Feedback::from_section(&options).unwrap();
            for (step, expected) in expected.iter().enumerate() {
                let mut got = lr * curve.at(step as u64);
                for watch in feedback.watches() {
                    got *= watch.factor(*lr, &losses[..step], false);
                }
                let off = (got - expected).abs();
                assert!(off <= 1e-12 * expected, "{case}, lr {lr}, step {step}: {got}, {expected}");
            }
        }
    }
}

#[test]
fn rates_cannot_be_factors_of_none() {
    let refused = |text: &str| {
        let options =
            SCHEDULES.resolve_options("schedule", &toml::from_str(text).unwrap()).unwrap();
        Schedule::from_section(&options, Horizon { steps: 10 }, 0.0).unwrap_err().to_string()
    };
    assert!(refused("name = 'one_cycle'\nmax_lr = 0.1").contains("a learning rate of 0"));
    assert!(refused("name = 'cosine_annealing'\neta_min = 0.1").contains("only 0 can be given"));
}
