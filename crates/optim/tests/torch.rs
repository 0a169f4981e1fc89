//! Trajectories and clipping against PyTorch.

mod common;

use std::collections::BTreeMap;

use common::{Float, grads_of, params_of, table};
use rappel_config::Family as _;
use rappel_optim::{OPTIMIZERS, Optimizer, OptimizerConfig, Sgd};
use rappel_schedule::{Horizon, Schedule, constant};
use rappel_tensor::{Params, Tensor};
use rappel_testkit::{Golden, assert_close, assert_close_floor};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Config {
    name: String,
    optimizer: String,
    given: Map<String, Value>,
    scheduled: bool,
}

/// The golden file of a family of rules, how many configurations it holds, and how closely they are
/// followed in double and in single precision. Each element stands alone: nothing large excuses it.
struct Family {
    file: &'static str,
    configs: usize,
    double: f64,
    single: f64,
}

const FAMILIES: &[Family] = &[
    Family { file: "optimizers_torch", configs: 35, double: 1e-12, single: 6e-5 },
    Family { file: "optimizers_torch_moments", configs: 31, double: 1e-12, single: 1.2e-4 },
    Family { file: "optimizers_torch_rows", configs: 7, double: 1e-12, single: 1e-5 },
    Family { file: "optimizers_torch_squares", configs: 34, double: 1e-12, single: 1.2e-4 },
    Family { file: "optimizers_torch_steps", configs: 19, double: 1e-12, single: 1e-5 },
];

/// The optimizer of a golden configuration, through the config's way, with PyTorch's defaults for
/// what PyTorch was not given.
fn optimizer(config: &Config, golden: &Golden, params: &Params) -> Optimizer {
    let mut given = table(&config.given);
    let name = match config.optimizer.as_str() {
        "SparseAdam" => "sparse_adam".to_owned(),
        other => other.to_lowercase(),
    };
    given.insert("name".to_owned(), name.into());
    let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
    let (_, scale) = golden.f64("lr_scale");
    let schedule = if config.scheduled {
        Schedule::from_fn(None, move |step| scale[step as usize])
    } else {
        constant(1.0)
    };
    let config = OptimizerConfig::from_section(&options, Horizon { steps: 60 }, schedule).unwrap();
    Optimizer::new(config, params).unwrap()
}

/// Parameters and state, but for the counts of updates, by their names in the golden files.
fn values(params: &Params, optimizer: &Optimizer) -> BTreeMap<String, Vec<f64>> {
    let named = |(name, tensor): (String, Tensor)| (name, tensor.to_f64_vec());
    let params = params.tensors().into_iter().map(|(name, t)| (format!("{name}/param"), t));
    let state = optimizer.state_tensors().into_iter().filter_map(|(name, t)| {
        let (slot, param) = name.rsplit_once('.').unwrap();
        (slot != "step").then(|| (format!("{param}/{slot}"), t))
    });
    params.chain(state).map(named).collect()
}

/// Runs a configuration and compares all that PyTorch's run kept; returns the largest error.
fn follow<T: Float>(golden: &Golden, config: &Config, rtol: f64) -> f64 {
    let shapes: Vec<Vec<usize>> = golden.meta("shapes");
    let snapshots: Vec<usize> = golden.meta("snapshots");
    let named = |prefix: &str| -> Vec<Vec<f64>> {
        (0..shapes.len()).map(|i| golden.f64(&format!("{prefix}/p{i}")).1).collect()
    };
    let (init, all_grads) = (named("init"), named("grads"));
    let mut params = params_of::<T>(&shapes, &init);
    let mut optimizer = optimizer(config, golden, &params);
    let prefix = format!("{}/{}/", T::PREFIX, config.name);
    let mut worst = 0.0_f64;
    for step in 0..60 {
        let grads: Vec<Vec<f64>> = std::iter::zip(&init, &all_grads)
            .map(|(start, grads)| grads.chunks(start.len()).nth(step).unwrap().to_vec())
            .collect();
        let grads = grads_of::<T>(&params, &grads);
        optimizer.step(step as u64, &mut params, &grads).unwrap();
        let Some(at) = snapshots.iter().position(|s| *s == step + 1) else { continue };
        let got = values(&params, &optimizer);
        let names: Vec<&str> = golden.names(&prefix).map(|name| &name[prefix.len()..]).collect();
        assert!(got.keys().eq(&names), "{prefix}: {:?} where PyTorch has {names:?}", got.keys());
        for (name, got) in got {
            let full = format!("{prefix}{name}");
            let (_, want) = golden.float(&full);
            let want = want.chunks(got.len()).nth(at).unwrap();
            let what = format!("{full} after {}", step + 1);
            worst = worst.max(assert_close_floor(&got, want, rtol, 0.0, &what));
        }
    }
    worst
}

fn follow_all<T: Float>(rtol: impl Fn(&Family) -> f64) {
    for family in FAMILIES {
        let golden = Golden::load(family.file);
        let configs: Vec<Config> = golden.meta("configs");
        assert_eq!(configs.len(), family.configs, "{}", family.file);
        for config in &configs {
            let worst = follow::<T>(&golden, config, rtol(family));
            println!("{} {}: {worst:.1e}", T::PREFIX, config.name);
        }
    }
}

#[test]
fn trajectories_agree_in_double_precision() {
    follow_all::<f64>(|family| family.double);
}

#[test]
fn trajectories_agree_in_single_precision() {
    follow_all::<f32>(|family| family.single);
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
    clip: impl Fn(OptimizerConfig) -> OptimizerConfig,
) -> (Vec<Vec<f64>>, f64) {
    let shapes: Vec<Vec<usize>> = golden.meta("shapes");
    let grads: Vec<Vec<f64>> =
        (0..shapes.len()).map(|i| golden.f64(&format!("in/{set}/g{i}")).1).collect();
    let zeros: Vec<Vec<f64>> = grads.iter().map(|g| vec![0.0; g.len()]).collect();
    let mut params = params_of::<T>(&shapes, &zeros);
    let config = clip(OptimizerConfig::new(Sgd { lr: 1.0.into(), ..Default::default() }));
    let mut sgd = Optimizer::new(config, &params).unwrap();
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
        let config = |r: OptimizerConfig| r.norm_type(p).max_grad_norm(case.max_norm);
        let (got, norm) = clipped::<T>(&golden, &case.set, config);
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
