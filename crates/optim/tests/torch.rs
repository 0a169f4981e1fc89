//! Trajectories and clipping against PyTorch.

mod common;

use common::{Float, grads_of, params_of, table};
use rappel_optim::{OPTIMIZERS, Optimizer, Recipe, Sgd};
use rappel_registry::Family;
use rappel_schedule::{Curve, Horizon, constant};
use rappel_testkit::{Golden, assert_close, assert_close_floor};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Config {
    name: String,
    optimizer: String,
    given: Map<String, Value>,
    scheduled: bool,
    states: Vec<String>,
}

/// The optimizer of a golden configuration, through the config's way, with PyTorch's defaults for
/// what PyTorch was not given.
fn optimizer(config: &Config, golden: &Golden, params: &rappel_tensor::Params) -> Optimizer {
    let mut given = table(&config.given);
    given.insert("name".to_owned(), config.optimizer.to_lowercase().into());
    let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
    let (_, scale) = golden.f64("lr_scale");
    let schedule = if config.scheduled {
        Curve::from_fn(None, move |step| scale[step as usize])
    } else {
        constant(1.0)
    };
    let recipe = Recipe::from_section(&options, Horizon { steps: 60 }, schedule).unwrap();
    Optimizer::new(recipe, params).unwrap()
}

fn follow<T: Float>(rtol: f64) {
    let golden = Golden::load("optimizers_torch");
    let configs: Vec<Config> = golden.meta("configs");
    let shapes: Vec<Vec<usize>> = golden.meta("shapes");
    let snapshots: Vec<usize> = golden.meta("snapshots");
    assert_eq!(configs.len(), 35);
    let named = |prefix: &str| -> Vec<Vec<f64>> {
        (0..shapes.len()).map(|i| golden.f64(&format!("{prefix}/p{i}")).1).collect()
    };
    let (init, all_grads) = (named("init"), named("grads"));
    for config in &configs {
        let mut params = params_of::<T>(&shapes, &init);
        let mut optimizer = optimizer(config, &golden, &params);
        for step in 0..60 {
            let grads: Vec<Vec<f64>> = (0..shapes.len())
                .map(|i| {
                    let n = init[i].len();
                    all_grads[i][step * n..(step + 1) * n].to_vec()
                })
                .collect();
            let grads = grads_of::<T>(&params, &grads);
            optimizer.step(step as u64, &mut params, &grads).unwrap();
            let Some(at) = snapshots.iter().position(|s| *s == step + 1) else { continue };
            let state = optimizer.state_tensors();
            let state_names = |i: usize| {
                let suffix = format!(".p{i}");
                let names = state.iter().filter_map(move |(n, _)| n.strip_suffix(&suffix));
                names.filter(|name| *name != "step").map(str::to_owned).collect::<Vec<_>>()
            };
            for (i, start) in init.iter().enumerate() {
                assert_eq!(state_names(i), config.states, "{}", config.name);
                let mut values = vec![("param".to_owned(), params.tensors()[i].1.to_f64_vec())];
                for name in &config.states {
                    let full = format!("{name}.p{i}");
                    let tensor = &state.iter().find(|(n, _)| *n == full).unwrap().1;
                    values.push((name.clone(), tensor.to_f64_vec()));
                }
                for (name, got) in values {
                    let full = format!("{}/{}/p{i}/{name}", T::PREFIX, config.name);
                    let (_, want) = golden.float(&full);
                    let n = start.len();
                    let want = &want[at * n..(at + 1) * n];
                    let what = format!("{full} after {}", step + 1);
                    // Each element stands alone: nothing large may excuse it.
                    assert_close_floor(&got, want, rtol, 0.0, &what);
                }
            }
        }
    }
}

#[test]
fn trajectories_agree_in_double_precision() {
    follow::<f64>(1e-12);
}

#[test]
fn trajectories_agree_in_single_precision() {
    follow::<f32>(6e-5);
}

#[derive(Deserialize)]
struct NormCase {
    name: String,
    set: String,
    max_norm: f64,
    norm_type: String,
}

#[derive(Deserialize)]
struct ValueCase {
    name: String,
    set: String,
    clip_value: f64,
}

/// What SGD at rate 1 takes away from zeros: the clipped gradients.
fn clipped<T: Float>(
    golden: &Golden,
    set: &str,
    clip: impl Fn(Recipe) -> Recipe,
) -> (Vec<Vec<f64>>, f64) {
    let shapes: Vec<Vec<usize>> = golden.meta("shapes");
    let grads: Vec<Vec<f64>> =
        (0..shapes.len()).map(|i| golden.f64(&format!("in/{set}/g{i}")).1).collect();
    let zeros: Vec<Vec<f64>> = grads.iter().map(|g| vec![0.0; g.len()]).collect();
    let mut params = params_of::<T>(&shapes, &zeros);
    let recipe = clip(Recipe::new(Sgd { lr: 1.0.into(), ..Default::default() }));
    let mut sgd = Optimizer::new(recipe, &params).unwrap();
    let grads = grads_of::<T>(&params, &grads);
    let report = sgd.step(0, &mut params, &grads).unwrap();
    let moved = params
        .tensors()
        .into_iter()
        .map(|(_, tensor)| tensor.to_f64_vec().into_iter().map(|x| -x).collect());
    (moved.collect(), report.grad_norm.unwrap())
}

fn clip<T: Float>(rtol: f64) {
    let golden = Golden::load("clip_torch");
    let outputs = |name: &str, got: Vec<Vec<f64>>| {
        for (i, got) in got.iter().enumerate() {
            let full = format!("{}/{name}/out/g{i}", T::PREFIX);
            assert_close_floor(got, &golden.float(&full).1, rtol, 0.0, &full);
        }
    };
    let cases: Vec<NormCase> = golden.meta("norm_cases");
    assert_eq!(cases.len(), 14);
    for case in cases {
        let p = case.norm_type.parse().unwrap();
        let recipe = |r: Recipe| r.norm_type(p).max_grad_norm(case.max_norm);
        let (got, norm) = clipped::<T>(&golden, &case.set, recipe);
        let full = format!("{}/{}/total_norm", T::PREFIX, case.name);
        assert_close(&[norm], &golden.float(&full).1, rtol, &full);
        outputs(&case.name, got);
    }
    let cases: Vec<ValueCase> = golden.meta("value_cases");
    assert_eq!(cases.len(), 6);
    for case in cases {
        let (got, _) = clipped::<T>(&golden, &case.set, |r| r.clip_value(case.clip_value));
        outputs(&case.name, got);
    }
}

#[test]
fn clipping_agrees_in_double_precision() {
    clip::<f64>(1e-12);
}

#[test]
fn clipping_agrees_in_single_precision() {
    clip::<f32>(1e-6);
}
