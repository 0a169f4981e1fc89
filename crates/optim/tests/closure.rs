//! Steps that evaluate the loss themselves, against PyTorch and pytorch_optimizer.

mod common;

use std::collections::BTreeMap;

use common::{Float, grads_of, params_of, table};
use rappel_config::Family;
use rappel_optim::{
    Lbfgs, OPTIMIZERS, OptimError, Optimizer, OptimizerConfig, ParamGroup, Sam, Sgd, Wrappers,
};
use rappel_schedule::{Horizon, Schedule, constant};
use rappel_tensor::{DType, Grads, Init, Params, Tensor, TensorFile};
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
            Schedule::from_fn(None, move |step| scale[step as usize])
        } else {
            constant(1.0)
        };
        let config =
            OptimizerConfig::from_section(&options, Horizon { steps: 60 }, schedule).unwrap();
        Optimizer::new(config, params).unwrap()
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

#[allow(clippy::unnecessary_wraps, reason = "a closure of steps")]
fn quartic(params: &Params) -> Result<(f64, Grads), OptimError> {
    let loss = |name: &str| (params.get(name).unwrap().tensor() - 3.0).square().square().sum();
    let loss = loss("p0") + loss("p1") * 2.0;
    Ok((loss.item(), loss.backward()))
}

fn at_zero() -> Params {
    params_of::<f64>(&[vec![2], vec![]], &[vec![0.0, 1.0], vec![0.5]])
}

fn optimizer_of(section: &str, params: &Params) -> Optimizer {
    let given = toml::from_str(section).unwrap();
    let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
    let config =
        OptimizerConfig::from_section(&options, Horizon { steps: 60 }, constant(1.0)).unwrap();
    Optimizer::new(config, params).unwrap()
}

fn bits(params: &Params, optimizer: &Optimizer) -> Vec<(String, Vec<u64>)> {
    let all = params.tensors().into_iter().chain(optimizer.state_tensors());
    all.map(|(name, t)| (name, t.to_f64_vec().iter().map(|x| x.to_bits()).collect())).collect()
}

const SEARCH: &str =
    "name = 'lbfgs'\nline_search_fn = 'strong_wolfe'\nmax_iter = 3\nhistory_size = 4";

#[test]
fn a_search_goes_on_from_its_saved_state_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, tensors| {
        let path = folder.path().join(name);
        rappel_tensor::write_tensors(&path, tensors, &BTreeMap::new()).unwrap();
        TensorFile::open(&path).unwrap()
    };
    let mut params = at_zero();
    let mut optimizer = optimizer_of(SEARCH, &params);
    for step in 0..3 {
        optimizer.step_closure(step, &mut params, quartic).unwrap();
    }
    let mut resumed_params = at_zero();
    let mut resumed = optimizer_of(SEARCH, &resumed_params);
    resumed_params.load(&file("params", params.tensors())).unwrap();
    let saved = optimizer.state_tensors();
    let shape = |name: &str| saved.iter().find(|(n, _)| n == name).unwrap().1.shape().to_vec();
    assert_eq!(
        (shape("old_dirs.p0"), shape("old_stps.p1"), shape("ro.p0")),
        (vec![4, 2], vec![4], vec![4])
    );
    assert_eq!(optimizer.state_bytes(), (2 + 2 * 4) * 3 * 8);
    resumed.load_state(&file("state", saved)).unwrap();
    for step in 3..6 {
        assert_eq!(bits(&params, &optimizer), bits(&resumed_params, &resumed));
        optimizer.step_closure(step, &mut params, quartic).unwrap();
        resumed.step_closure(step, &mut resumed_params, quartic).unwrap();
    }
    assert_eq!(bits(&params, &optimizer), bits(&resumed_params, &resumed));
    assert!(quartic(&params).unwrap().0 < 1e-3);
}

#[test]
fn state_with_histories_of_unequal_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut params = at_zero();
    let mut optimizer = optimizer_of(SEARCH, &params);
    optimizer.step_closure(0, &mut params, quartic).unwrap();
    let mut state = optimizer.state_tensors();
    let place = state.iter().position(|(name, _)| name == "old_stps.p0").unwrap();
    state[place].1 = Tensor::zeros([7, 2], DType::F64);
    rappel_tensor::write_tensors(&path, state, &BTreeMap::new()).unwrap();
    let error = optimizer.load_state(&TensorFile::open(&path).unwrap()).unwrap_err();
    assert!(error.to_string().contains("`old_stps.p0` has shape [7, 2], wanted ["), "{error}");
}

/// A closure that fails, or gives numbers that are none, in the second evaluation of a step.
fn failing(error: bool) -> impl FnMut(&Params) -> Result<(f64, Grads), OptimError> {
    let mut evaluations = 0;
    move |params| {
        evaluations += 1;
        let (loss, grads) = quartic(params)?;
        match (evaluations, error) {
            (1, _) => Ok((loss, grads)),
            (_, true) => Err(OptimError::NothingToTrain),
            (_, false) => Ok((f64::NAN, grads)),
        }
    }
}

#[test]
fn a_step_that_fails_half_way_changes_nothing() {
    let fixed = "name = 'lbfgs'\nlr = 0.01";
    let sharp = "name = 'adamw'\nsam = { rho = 0.5 }";
    for (section, fails_on_nan) in [(SEARCH, false), (fixed, true), (sharp, true)] {
        let mut params = at_zero();
        let mut optimizer = optimizer_of(section, &params);
        optimizer.step_closure(0, &mut params, quartic).unwrap();
        let before = bits(&params, &optimizer);
        let stopped = optimizer.step_closure(1, &mut params, failing(true)).unwrap_err();
        assert!(matches!(stopped, OptimError::NothingToTrain), "{stopped}");
        assert_eq!(bits(&params, &optimizer), before, "{section}");
        let stepped = optimizer.step_closure(1, &mut params, failing(false));
        if fails_on_nan {
            let error = stepped.unwrap_err().to_string();
            assert_eq!(error, "the loss is NaN (step 1); parameters are unchanged", "{section}");
            assert_eq!(bits(&params, &optimizer), before, "{section}");
        } else {
            // A line search turns back where there is no loss, here to where it began.
            stepped.unwrap();
            assert_eq!(bits(&params, &optimizer)[..2], before[..2]);
        }
    }
}

#[test]
fn gradients_alone_do_not_do_for_steps_that_look_elsewhere() {
    for section in [SEARCH, "name = 'sgd'\nsam = {}"] {
        let mut params = at_zero();
        let mut optimizer = optimizer_of(section, &params);
        let before = bits(&params, &optimizer);
        let grads = quartic(&params).unwrap().1;
        let error = optimizer.step(0, &mut params, &grads).unwrap_err();
        assert!(matches!(error, OptimError::NeedsLoss { .. }), "{error}");
        assert!(error.to_string().contains("take the step with `step_closure`"), "{error}");
        assert_eq!(bits(&params, &optimizer), before);
    }
}

#[test]
fn what_cannot_be_beside_a_search_is_refused() {
    for (more, key) in [
        ("groups = [{ params = ['p0'], lr = 0.1 }]", "groups"),
        ("state_dtype = 'bfloat16'", "state_dtype"),
        ("stochastic_rounding = true", "stochastic_rounding"),
        ("sam = { rho = 0.1 }", "sam"),
        ("cautious = true", "cautious"),
    ] {
        let given = toml::from_str(&format!("{SEARCH}\n{more}")).unwrap();
        let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
        let config = OptimizerConfig::from_section(&options, Horizon { steps: 1 }, constant(1.0));
        let error = config.expect_err("an error").to_string();
        let start = format!("config key `optimizer.{key}`: cannot be beside a rule that searches");
        assert!(error.starts_with(&start), "{error}");
    }
    let section = "name = 'sgd'\nsam = { rho = -0.1 }";
    let error = OPTIMIZERS.resolve_options("optimizer", &toml::from_str(section).unwrap());
    assert!(error.unwrap_err().to_string().contains("`optimizer.sam.rho`: -0.1 is out of range"));
    let mut mixed = Params::new(0);
    mixed.scope("").add("single", [2], Init::ONES);
    mixed.scope("").dtype(DType::F64).add("double", [2], Init::ONES);
    let error = Optimizer::new(Lbfgs::default(), &mixed).expect_err("an error");
    assert!(matches!(error, OptimError::Mixed { .. }), "{error}");
    let none = Lbfgs { history_size: 0, ..Default::default() };
    let error = Optimizer::new(none, &at_zero()).expect_err("an error").to_string();
    assert_eq!(error, "optimizer: option `history_size`: 0 is out of range; expected integer >= 1");
}

#[test]
fn sharpness_is_measured_over_the_groups_that_ask_for_it() {
    // Of x^4 at 1 and 2, with gradients 4 and 32: only `p1` goes up, by rho.
    let mut params = params_of::<f64>(&[vec![1], vec![1]], &[vec![1.0], vec![2.0]]);
    let sharp =
        Wrappers { sam: Some(Sam { rho: 0.5.into(), adaptive: false }), ..Default::default() };
    let sgd = || Sgd { lr: 0.001.into(), ..Default::default() };
    let config = OptimizerConfig::new(sgd()).group(["p1"], ParamGroup::from(sgd()).wrappers(sharp));
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    let mut places = Vec::new();
    let evaluate = |params: &Params| {
        places.push(params.tensors().iter().map(|(_, t)| t.item()).collect::<Vec<f64>>());
        let fourth = |name: &str| params.get(name).unwrap().tensor().square().square().sum();
        let loss = fourth("p0") + fourth("p1");
        Ok::<_, OptimError>((loss.item(), loss.backward()))
    };
    let report = optimizer.step_closure(0, &mut params, evaluate).unwrap();
    assert_eq!(report.loss, Some(17.0));
    assert_eq!(places[0], [1.0, 2.0]);
    assert_close(&places[1], &[1.0, 2.5], 1e-12, "where the second gradient was taken");
    let after: Vec<f64> = params.tensors().iter().map(|(_, t)| t.item()).collect();
    assert_close(&after, &[1.0 - 0.004, 2.0 - 0.0625], 1e-12, "after the step");
}
