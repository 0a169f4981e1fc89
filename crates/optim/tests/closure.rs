//! Steps that evaluate the loss themselves, against PyTorch and pytorch_optimizer.

mod common;

use std::collections::BTreeMap;

use common::{Float, grads_of, params_of, table};
use rappel_optim::{OPTIMIZERS, OptimError, Optimizer, Recipe};
use rappel_registry::Family;
use rappel_schedule::{Curve, Horizon, constant};
use rappel_tensor::{Grads, Params, Tensor};
use rappel_testkit::{Golden, assert_close};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Config {
    name: String,
    kind: String,
    optimizer: String,
    given: Map<String, Value>,
    scheduled: bool,
}

/// The parameters of the golden file in the order in which PyTorch had them; here they are called
/// `p0`, `p1`, ...
const NAMES: [&str; 6] = ["w1", "b1", "w2", "b2", "t3", "t4"];

struct Reference {
    golden: Golden,
    shapes: Vec<Vec<usize>>,
    snapshots: Vec<usize>,
}

impl Reference {
    fn load() -> Self {
        let golden = Golden::load("optimizers_closure");
        let shapes: BTreeMap<String, Vec<usize>> = golden.meta("shapes");
        let shapes = NAMES.map(|name| shapes[name].clone()).to_vec();
        let snapshots = golden.meta("snapshots");
        Self { golden, shapes, snapshots }
    }

    fn params<T: Float>(&self) -> Params {
        let init = NAMES.map(|name| self.golden.f64(&format!("init/{name}")).1);
        params_of::<T>(&self.shapes, &init)
    }

    fn optimizer(&self, config: &Config, params: &Params) -> Optimizer {
        let mut given = table(&config.given);
        given.insert("name".to_owned(), config.optimizer.clone().into());
        let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
        let (_, scale) = self.golden.f64("lr_scale");
        let schedule = if config.scheduled {
            Curve::from_fn(None, move |step| scale[step as usize])
        } else {
            constant(1.0)
        };
        let recipe = Recipe::from_section(&options, Horizon { steps: 60 }, schedule).unwrap();
        Optimizer::new(recipe, params).unwrap()
    }

    /// The gradients of a step that any closure would return.
    fn constant<T: Float>(&self, params: &Params, step: usize) -> Grads {
        let values = NAMES.map(|name| {
            let (shape, values) = self.golden.f64(&format!("grads/{name}"));
            let n = shape[1..].iter().product::<usize>();
            values[step * n..(step + 1) * n].to_vec()
        });
        grads_of::<T>(params, &values)
    }

    /// The loss of the generator's network.
    fn network<T: Float>(&self, params: &Params) -> Tensor {
        let data = |name: &str| {
            let (shape, values) = self.golden.f64(name);
            Tensor::from_slice(&values, &shape[..]).to_dtype(T::DTYPE)
        };
        let [w1, b1, w2, b2, t3, t4] =
            std::array::from_fn(|i| params.get(&format!("p{i}")).unwrap().tensor());
        let hidden = (data("x").matmul(&w1) + b1).tanh();
        let out = hidden.matmul(&w2.reshape([5, 1])).reshape([12]) + b2;
        (out - data("y")).square().mean()
            + (t3.square() - 1.0).square().mean() * 0.1
            + (t4 - 0.5).tanh().square().mean() * 0.2
    }

    fn step<T: Float>(
        &self,
        kind: &str,
        step: usize,
        params: &mut Params,
        optimizer: &mut Optimizer,
    ) {
        if kind == "constant" {
            let grads = self.constant::<T>(params, step);
            optimizer.step(step as u64, params, &grads).unwrap();
            return;
        }
        let evaluate = |params: &Params| {
            let loss = self.network::<T>(params);
            Ok::<_, OptimError>((loss.item(), loss.backward()))
        };
        optimizer.step_closure(step as u64, params, evaluate).unwrap();
    }

    /// Holds a configuration against its golden values as closely as PyTorch agrees with itself when
    /// its parameters come in another order, up to where it does not.
    fn follow<T: Float>(&self, config: &Config, rtol: f64) -> usize {
        let prefix = format!("{}/{}", T::PREFIX, config.name);
        let (_, spread) = self.golden.f64(&format!("{prefix}/spread"));
        let mut params = self.params::<T>();
        let mut optimizer = self.optimizer(config, &params);
        let mut compared = 0;
        for step in 0..60 {
            self.step::<T>(&config.kind, step, &mut params, &mut optimizer);
            let Some(at) = self.snapshots.iter().position(|s| *s == step + 1) else { continue };
            if spread[at] > ANOTHER_WAY {
                break;
            }
            compared += 1;
            let rtol = rtol.max(10.0 * spread[at]);
            let state: BTreeMap<String, Tensor> = optimizer.state_tensors().into_iter().collect();
            for (i, name) in NAMES.iter().enumerate() {
                let check = |what: &str, got: Vec<f64>| {
                    let full = format!("{prefix}/{name}/{what}");
                    let (_, want) = self.golden.float(&full);
                    let want = &want[at * got.len()..(at + 1) * got.len()];
                    assert_close(&got, want, rtol, &format!("{full} after {}", step + 1));
                };
                check("param", params.tensors()[i].1.to_f64_vec());
                if config.kind == "constant" {
                    check("d", state[&format!("d.p{i}")].to_f64_vec());
                    check("prev_flat_grad", state[&format!("prev_flat_grad.p{i}")].to_f64_vec());
                }
            }
            if config.optimizer == "lbfgs" {
                for count in ["n_iter", "func_evals"] {
                    let (_, want) = self.golden.f64(&format!("{prefix}/{count}"));
                    let got = state[&format!("{count}.p0")].item();
                    assert_eq!(got, want[at], "{prefix} after {}: {count}", step + 1);
                }
            }
        }
        compared
    }
}

/// From here on runs that differ in their rounding alone go different ways, and stop at other times.
const ANOTHER_WAY: f64 = 1e-6;

#[test]
fn trajectories_agree_with_the_references() {
    let reference = Reference::load();
    let configs: Vec<Config> = reference.golden.meta("configs");
    assert_eq!(configs.len(), 18);
    let (mut double, mut single) = (0, 0);
    for config in &configs {
        double += reference.follow::<f64>(config, 1e-12);
        // Single-precision gradients of the network come with noise of their own.
        single +=
            reference.follow::<f32>(config, if config.kind == "network" { 1e-4 } else { 1e-5 });
    }
    assert!(double >= 100 && single >= 35, "{double} and {single} snapshots compared");
}
