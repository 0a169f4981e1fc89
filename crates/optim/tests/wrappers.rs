//! What stands around a rule, against other implementations.

mod common;

use common::{grads_of, params_of, table};
use rappel_config::Family;
use rappel_optim::{Lookahead, OPTIMIZERS, Optimizer, OptimizerConfig, ParamGroup, Sgd, Wrappers};
use rappel_schedule::{Horizon, constant};
use rappel_tensor::Element;
use rappel_testkit::{Golden, assert_close_floor};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Case {
    name: String,
    options: Map<String, Value>,
}

fn config(options: &toml::Table) -> OptimizerConfig {
    let options = OPTIMIZERS.resolve_options("optimizer", options).unwrap();
    OptimizerConfig::from_section(&options, Horizon { steps: 52 }, constant(1.0)).unwrap()
}

fn follow<T: Element>(rtol: f64, floor: f64) {
    let golden = Golden::load("modifiers");
    let cases: Vec<Case> = golden.meta("cases");
    let shapes: Vec<Vec<usize>> = golden.meta("shapes");
    let snapshots: Vec<usize> = golden.meta("snapshots");
    let named = |prefix: &str| -> Vec<Vec<f64>> {
        (0..shapes.len()).map(|i| golden.f64(&format!("{prefix}/p{i}")).1).collect()
    };
    let (init, grads) = (named("init"), named("grads"));
    assert_eq!(cases.len(), 7);
    for Case { name, options } in &cases {
        let mut params = params_of::<T>(&shapes, &init);
        let mut optimizer = Optimizer::new(config(&table(options)), &params).unwrap();
        for step in 0..52 {
            let of_step = |(all, p): (&Vec<f64>, &Vec<f64>)| {
                all[step * p.len()..(step + 1) * p.len()].to_vec()
            };
            let grads: Vec<Vec<f64>> = grads.iter().zip(&init).map(of_step).collect();
            let grads = grads_of::<T>(&params, &grads);
            optimizer.step(step as u64, &mut params, &grads).unwrap();
            let Some(at) = snapshots.iter().position(|s| *s == step + 1) else { continue };
            for (i, want) in named(name).iter().enumerate() {
                let got = params.tensors()[i].1.to_f64_vec();
                let want = &want[at * got.len()..(at + 1) * got.len()];
                let what = format!("{name} p{i} after {}", step + 1);
                assert_close_floor(&got, want, rtol, floor, &what);
            }
        }
    }
}

#[test]
fn trajectories_agree_in_double_precision() {
    follow::<f64>(1e-12, 1e-3);
}

#[test]
fn trajectories_agree_in_single_precision() {
    // The reference is in double precision, and an element may come near zero by cancellation.
    follow::<f32>(1e-5, 0.1);
}

#[test]
fn options_and_structs_say_the_same() {
    let lookahead = Some(Lookahead { k: 2, alpha: 0.25 });
    let given = "name = 'sgd'\nlr = 0.1\nl1_proximal = 0.5\ncautious = true\n\
                 lookahead = { k = 2, alpha = 0.25 }";
    let wrappers =
        Wrappers { l1_proximal: 0.5.into(), cautious: true, lookahead, ..Wrappers::default() };
    let sgd = ParamGroup::from(Sgd { lr: 0.1.into(), ..Default::default() }).wrappers(wrappers);
    let recipes = [config(&toml::from_str(given).unwrap()), OptimizerConfig::new(sgd)];
    let reached = recipes.map(|config| {
        let mut params = params_of::<f64>(&[vec![3]], &[vec![0.3, -2.0, 1.0]]);
        let mut optimizer = Optimizer::new(config, &params).unwrap();
        for step in 0..4 {
            let grads = grads_of::<f64>(&params, &[vec![0.1, -0.2, 0.3]]);
            optimizer.step(step, &mut params, &grads).unwrap();
        }
        params.tensors()[0].1.to_vec::<f64>()
    });
    assert_eq!(reached[0], reached[1]);
    assert!(reached[0][0].abs() < 0.3);
}
