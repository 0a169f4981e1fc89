//! Trajectories of what trains large models, against the packages that people take the rules from.

mod common;

use common::{Float, grads_of, params_of};
use rappel_config::Family;
use rappel_optim::{OPTIMIZERS, Optimizer, OptimizerConfig};
use rappel_schedule::{Horizon, Schedule, constant};
use rappel_tensor::{Params, Tensor};
use rappel_testkit::{Golden, SCALE_FLOOR, compare};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Config {
    name: String,
    optimizer: String,
    options: Map<String, Value>,
    scheduled: bool,
    /// What gradients are clamped to first.
    limit: Option<f64>,
    /// Whether the drift is added to them, with the sign of the first parameter.
    drift: bool,
    states: Vec<String>,
    numbers: Vec<String>,
    /// Whether the reference hands out an average.
    average: bool,
}

/// Where one trajectory is, and where it should be.
struct Follower<'a, T> {
    golden: &'a Golden,
    config: &'a Config,
    params: Params,
    optimizer: Optimizer,
    worst: f64,
    /// What does not agree.
    wrong: Vec<String>,
    kind: std::marker::PhantomData<T>,
}

fn toml_of(json: &Value) -> toml::Value {
    match json {
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => match n.as_i64() {
            Some(integer) => integer.into(),
            None => n.as_f64().unwrap().into(),
        },
        // JSON has no infinity.
        Value::String(text) if text == "inf" => f64::INFINITY.into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => list.iter().map(toml_of).collect::<Vec<_>>().into(),
        other => panic!("no option is {other}"),
    }
}

fn optimizer(config: &Config, scale: &[f64], params: &Params) -> Optimizer {
    let mut given: toml::Table =
        config.options.iter().map(|(key, value)| (key.clone(), toml_of(value))).collect();
    given.insert("name".to_owned(), config.optimizer.as_str().into());
    let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
    let scale = scale.to_vec();
    let schedule = if config.scheduled {
        Schedule::from_fn(None, move |step| scale[step as usize])
    } else {
        constant(1.0)
    };
    let config = OptimizerConfig::from_section(&options, Horizon { steps: 60 }, schedule).unwrap();
    Optimizer::new(config, params).unwrap()
}

impl<T: Float> Follower<'_, T> {
    fn hold(&mut self, name: &str, got: &[f64], at: usize, (rtol, floor): (f64, f64)) {
        let full = format!("{}/{}/{name}", T::PREFIX, self.config.name);
        let (_, want) = self.golden.float(&full);
        let n = got.len();
        match compare(got, &want[at * n..(at + 1) * n], rtol, floor) {
            Ok(error) => self.worst = self.worst.max(error),
            Err(mismatch) => self.wrong.push(format!("{full}, snapshot {at}: {mismatch}")),
        }
    }

    fn snapshot(&mut self, at: usize, within: (f64, f64)) {
        let state = self.optimizer.state_tensors();
        let find = |name: &str| -> &Tensor {
            let found = state.iter().find(|(other, _)| other == name);
            &found.unwrap_or_else(|| panic!("{}: no state {name}", self.config.name)).1
        };
        let mut values = Vec::new();
        for i in 0..self.params.tensors().len() {
            values.push((format!("p{i}/param"), self.params.tensors()[i].1.to_f64_vec()));
            for name in &self.config.states {
                values.push((format!("p{i}/{name}"), find(&format!("{name}.p{i}")).to_f64_vec()));
            }
        }
        for name in &self.config.numbers {
            values.push((format!("numbers/{name}"), find(&format!("{name}.p0")).to_f64_vec()));
        }
        if self.config.average {
            self.optimizer.eval(&mut self.params).unwrap();
            for (i, (_, average)) in self.params.tensors().iter().enumerate() {
                values.push((format!("p{i}/average"), average.to_f64_vec()));
            }
            self.optimizer.train(&mut self.params).unwrap();
        }
        for (name, got) in values {
            self.hold(&name, &got, at, within);
        }
    }
}

fn follow<T: Float>(file: &str, count: usize, (rtol, floor): (f64, f64)) {
    let (start, golden) = (Golden::load("optimizers_torch"), Golden::load(file));
    let configs: Vec<Config> = golden.meta("configs");
    let snapshots: Vec<usize> = golden.meta("snapshots");
    assert_eq!(configs.len(), count);
    let ((_, scale), (_, drifts)) = (start.f64("lr_scale"), golden.f64("drift"));
    let shapes: Vec<Vec<usize>> = (0..5).map(|i| start.f64(&format!("init/p{i}")).0).collect();
    let named = |prefix: &str| -> Vec<Vec<f64>> {
        (0..5).map(|i| start.f64(&format!("{prefix}/p{i}")).1).collect()
    };
    let (init, all_grads) = (named("init"), named("grads"));
    let mut wrong = Vec::new();
    for config in &configs {
        let params = params_of::<T>(&shapes, &init);
        let optimizer = optimizer(config, &scale, &params);
        let kind = std::marker::PhantomData;
        let (golden, worst, none) = (&golden, 0.0, Vec::new());
        let mut follower =
            Follower::<T> { golden, config, params, optimizer, worst, wrong: none, kind };
        let limit = config.limit.unwrap_or(f64::INFINITY);
        for step in 0..60 {
            let of_step = |i: usize| -> Vec<f64> {
                let drawn = &all_grads[i][step * init[i].len()..];
                let drift = if config.drift { drifts[step] } else { 0.0 };
                // Exact in single precision, so that both precisions see the same.
                let seen = |(p, g): (&f64, &f64)| {
                    f64::from((g.clamp(-limit, limit) + drift * p.signum()) as f32)
                };
                init[i].iter().zip(drawn).map(seen).collect()
            };
            let grads: Vec<Vec<f64>> = (0..5).map(of_step).collect();
            let grads = grads_of::<T>(&follower.params, &grads);
            follower.optimizer.step(step as u64, &mut follower.params, &grads).unwrap();
            if let Some(at) = snapshots.iter().position(|s| *s == step + 1) {
                follower.snapshot(at, (rtol, floor));
            }
        }
        println!("{} {}: {:.1e}", T::PREFIX, config.name, follower.worst);
        wrong.append(&mut follower.wrong);
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn practice_agrees_in_double_precision() {
    follow::<f64>("optimizers_practice", 40, (1e-12, 0.0));
}

#[test]
fn practice_agrees_in_single_precision() {
    follow::<f32>("optimizers_practice", 40, (8e-5, 0.0));
}

#[test]
fn schedule_free_agrees_in_double_precision() {
    follow::<f64>("optimizers_schedule_free", 10, (1e-12, 0.0));
}

#[test]
fn schedule_free_agrees_in_single_precision() {
    follow::<f32>("optimizers_schedule_free", 10, (8e-5, 0.0));
}

#[test]
fn adaptive_rates_agree_in_double_precision() {
    // One average cancels to a thousandth of itself.
    follow::<f64>("optimizers_adaptive", 14, (1e-12, SCALE_FLOOR));
}

#[test]
fn adaptive_rates_agree_in_single_precision() {
    // Steps are as long as parameters are large, so what they leave may be small by cancellation.
    follow::<f32>("optimizers_adaptive", 14, (5e-5, 0.1));
}

#[test]
fn curvature_agrees_in_double_precision() {
    follow::<f64>("optimizers_curvature", 9, (1e-12, 0.0));
}

#[test]
fn curvature_agrees_in_single_precision() {
    follow::<f32>("optimizers_curvature", 9, (1.5e-4, 0.0));
}
