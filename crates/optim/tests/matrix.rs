//! Trajectories of rules over whole tensors against their references.

mod common;

use std::collections::BTreeMap;

use common::{Float, grads_of, params_of, table};
use rappel_config::Family;
use rappel_optim::{OPTIMIZERS, Optimizer, OptimizerConfig};
use rappel_schedule::{Horizon, Schedule, constant};
use rappel_tensor::Params;
use rappel_testkit::{Golden, compare};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A configuration of a golden file: what the rule is called and given here.
#[derive(Deserialize)]
struct Config {
    name: String,
    optimizer: String,
    given: Map<String, Value>,
    #[serde(default)]
    scheduled: bool,
    /// Which of the file's parameters take part; all where not said.
    params: Option<Vec<usize>>,
    /// Which of the file's sequences of gradients, where it has several.
    grads: Option<String>,
    /// How many times more rounding counts than in the file's other configurations, as where a matrix
    /// is nearly singular.
    noise: Option<f64>,
}

struct Case {
    golden: Golden,
    config: Config,
    chosen: Vec<usize>,
    shapes: Vec<Vec<usize>>,
    init: Vec<Vec<f64>>,
    grads: Vec<Vec<f64>>,
}

impl Case {
    fn all(file: &str) -> impl Iterator<Item = Self> {
        let configs: Vec<Config> = Golden::load(file).meta("configs");
        assert!(!configs.is_empty());
        let file = file.to_owned();
        configs.into_iter().map(move |config| {
            let golden = Golden::load(&file);
            let shapes: Vec<Vec<usize>> = golden.meta("shapes");
            let chosen = config.params.clone().unwrap_or_else(|| (0..shapes.len()).collect());
            let named = |prefix: &str| -> Vec<Vec<f64>> {
                chosen.iter().map(|i| golden.f64(&format!("{prefix}/p{i}")).1).collect()
            };
            let from = config.grads.as_ref().map_or("grads".to_owned(), |g| format!("grads/{g}"));
            let (init, grads) = (named("init"), named(&from));
            let shapes = chosen.iter().map(|&i| shapes[i].clone()).collect();
            Self { golden, config, chosen, shapes, init, grads }
        })
    }

    fn optimizer(&self, params: &Params, more: &[(&str, &str)]) -> Optimizer {
        let mut given = table(&self.config.given);
        given.insert("name".to_owned(), self.config.optimizer.to_lowercase().into());
        given.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())));
        let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
        let schedule = if self.config.scheduled {
            let (_, scale) = self.golden.f64("lr_scale");
            Schedule::from_fn(None, move |step| scale[step as usize])
        } else {
            constant(1.0)
        };
        let config =
            OptimizerConfig::from_section(&options, Horizon { steps: 60 }, schedule).unwrap();
        Optimizer::new(config, params).unwrap()
    }

    /// The largest error of parameters, and of all state that the file has, each element beside the
    /// expected one, or beside `floor` times its tensor's largest.
    fn follow<T: Float>(&self, prefix: &str, more: &[(&str, &str)], floor: f64) -> f64 {
        let snapshots: Vec<usize> = self.golden.meta("snapshots");
        let mut params = params_of::<T>(&self.shapes, &self.init);
        let mut optimizer = self.optimizer(&params, more);
        let mut worst: f64 = 0.0;
        for step in 0..60 {
            let one = |(init, all): (&Vec<f64>, &Vec<f64>)| {
                all[step * init.len()..(step + 1) * init.len()].to_vec()
            };
            let grads: Vec<Vec<f64>> = self.init.iter().zip(&self.grads).map(one).collect();
            let grads = grads_of::<T>(&params, &grads);
            optimizer.step(step as u64, &mut params, &grads).unwrap();
            let Some(at) = snapshots.iter().position(|s| *s == step + 1) else { continue };
            let mut got: BTreeMap<String, Vec<f64>> = optimizer
                .state_tensors()
                .into_iter()
                .map(|(name, tensor)| (name, tensor.to_f64_vec()))
                .collect();
            for (k, (_, tensor)) in params.tensors().into_iter().enumerate() {
                got.insert(format!("param.p{k}"), tensor.to_f64_vec());
            }
            for (k, i) in self.chosen.iter().enumerate() {
                let all = format!("{prefix}/{}/p{i}/", self.config.name);
                for full in self.golden.names(&all) {
                    let name = &full[all.len()..];
                    let got = &got[&format!("{name}.p{k}")];
                    let (_, want) = self.golden.float(full);
                    let want = &want[at * got.len()..(at + 1) * got.len()];
                    match compare(got, want, f64::INFINITY, floor) {
                        Ok(error) => worst = worst.max(error),
                        Err(mismatch) => panic!("{full} after {}: {mismatch:?}", step + 1),
                    }
                }
            }
        }
        worst
    }
}

/// How near a file's configurations keep, and beside what: each number alone (0), or beside this
/// share of its tensor's largest.
#[derive(Clone, Copy)]
struct Near {
    tolerance: f64,
    floor: f64,
}

/// Double precision where nothing excuses a number.
const EXACT: Near = Near { tolerance: 1e-12, floor: 0.0 };
/// Double precision of decompositions, whose errors are as large as the matrix, not its elements.
const DECOMPOSED: Near = Near { tolerance: 2e-12, floor: 1e-2 };
/// Single precision: numbers near zero are what is left of larger ones, and the references are as
/// far from their own double precision.
const SINGLE: Near = Near { tolerance: 3e-5, floor: 1e-2 };

/// Single precision of decompositions.
const fn single(tolerance: f64) -> Near {
    Near { tolerance, floor: 1e-2 }
}

/// Every one of the `count` configurations of a file keeps near to its reference.
fn agrees(file: &str, count: usize, wide: Near, narrow: Near) {
    let mut seen = 0;
    let mut failed = Vec::new();
    for case in Case::all(file) {
        seen += 1;
        let noise = case.config.noise.unwrap_or(1.0);
        let mut check = |what: &str, near: Near, error: f64| {
            println!("{} {what}: {error:.1e}", case.config.name);
            if error > near.tolerance * noise {
                failed.push(format!("{} is off by {error:.1e} in {what}", case.config.name));
            }
        };
        check("f64", wide, case.follow::<f64>("f64", &[], wide.floor));
        // Where noise is all that single precision has, there is nothing to compare.
        if noise < 1e3 {
            check("f32", narrow, case.follow::<f32>("f32", &[], narrow.floor));
        }
    }
    assert_eq!(seen, count);
    assert!(failed.is_empty(), "{file}: {failed:#?}");
}

#[test]
fn adafactor_agrees_with_torch() {
    agrees("optimizers_torch_adafactor", 9, EXACT, SINGLE);
}

#[test]
fn muon_agrees_with_torch() {
    agrees("optimizers_torch_muon", 13, EXACT, SINGLE);
}

#[test]
fn versions_of_muon_agree_with_their_code() {
    agrees("optimizers_matrix_muon", 8, EXACT, SINGLE);
}

#[test]
fn adafactor_agrees_with_transformers() {
    agrees("optimizers_matrix_adafactor", 4, EXACT, SINGLE);
}

#[test]
fn came_agrees_with_pytorch_optimizer() {
    agrees("optimizers_matrix_came", 7, EXACT, SINGLE);
}

#[test]
fn adam_mini_agrees_with_its_authors() {
    agrees("optimizers_matrix_adam_mini", 7, EXACT, SINGLE);
}

#[test]
fn lomo_agrees_with_pytorch_optimizer() {
    agrees("optimizers_matrix_lomo", 2, EXACT, SINGLE);
}

#[test]
fn adalomo_agrees_with_pytorch_optimizer() {
    agrees("optimizers_matrix_adalomo", 4, EXACT, SINGLE);
}

#[test]
fn soap_agrees_with_pytorch_optimizer() {
    agrees("optimizers_matrix_soap", 6, DECOMPOSED, single(2e-4));
}

#[test]
fn shampoo_agrees_with_pytorch_optimizer() {
    agrees("optimizers_matrix_shampoo", 7, DECOMPOSED, single(3e-3));
}

#[test]
fn galore_agrees_with_its_authors() {
    agrees("optimizers_matrix_galore", 7, DECOMPOSED, single(2e-4));
}

#[test]
fn apollo_agrees_with_its_authors() {
    agrees("optimizers_matrix_apollo", 5, DECOMPOSED, single(2e-4));
}

/// PyTorch's products round otherwise than ours, so that steps differ by a few units in bfloat16's
/// last place (2^-8), and the parameter by that share of all its steps.
#[test]
fn muon_in_bfloat16_keeps_near_to_torch() {
    for case in Case::all("optimizers_torch_muon") {
        let more = [("ns_dtype", "bfloat16")];
        let error = case.follow::<f32>("bf16", &more, 1.0);
        let lr = case.config.given.get("lr").map_or(1e-3, |lr| lr.as_f64().unwrap());
        let bound = 60.0 * lr * 8.0 / 256.0;
        assert!(error < bound, "{}: {error:.1e} of {bound:.1e}", case.config.name);
    }
}

/// What making the optimizer of a config for one parameter of `shape` says.
fn refusal(config: &str, shape: &[usize]) -> String {
    let given = toml::from_str(config).unwrap();
    let options = match OPTIMIZERS.resolve_options("optimizer", &given) {
        Ok(options) => options,
        Err(error) => return error.to_string(),
    };
    let config = match OptimizerConfig::from_section(&options, Horizon { steps: 60 }, constant(1.0))
    {
        Ok(config) => config,
        Err(error) => return error.to_string(),
    };
    let params = params_of::<f32>(&[shape.to_vec()], &[vec![0.0; shape.iter().product()]]);
    match Optimizer::new(config, &params) {
        Ok(_) => panic!("{given} takes {shape:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_cannot_be_is_said_before_the_first_step() {
    for (config, shape, says) in [
        ("name = 'muon'", &[7][..], "give it a group"),
        ("name = 'muon'", &[2, 3, 4], "matrices"),
        ("name = 'muon'\nns_coefficients = [1.0, 2.0]", &[3, 3], "list of 3 floats"),
        ("name = 'muon'\nns_coefficients = 'steep'", &[3, 3], "polar_express"),
        ("name = 'muon'\nns_steps = 100", &[3, 3], "ns_steps"),
        ("name = 'muon'\nvariant = 'mine'", &[3, 3], "moonshot"),
        ("name = 'muon'\nstate_dtype = 'bfloat16'", &[3, 3], "state_dtype"),
        ("name = 'adafactor'\neps = [-1.0, 1e-3]", &[3, 3], ">= 0"),
        ("name = 'adafactor'\nwarmup_init = true", &[3, 3], "relative_step"),
        ("name = 'adafactor'\nd = 0.5", &[3, 3], "optimizer.d"),
        ("name = 'adam_mini'\npartition = 'heads'\nn_heads = 4", &[6, 3], "4 heads"),
        ("name = 'came'\nbetas = [0.9, 0.999]", &[3, 3], "list of 3"),
        ("name = 'galore'\nrank = 0", &[3, 3], "rank"),
        ("name = 'shampoo'\nmatrix_eps = 0.0", &[3, 3], "matrix_eps"),
    ] {
        let said = refusal(config, shape);
        assert!(said.contains(says), "{config} {shape:?}: {said}");
    }
}

/// Random projections are functions of seed and name: another run draws the same, another seed others.
#[test]
fn random_projections_come_from_the_seed() {
    for rule in ["galore", "apollo"] {
        let moved = |seed: i64| {
            let config = format!("name = '{rule}'\nproj = 'random'\nrank = 2\nseed = {seed}");
            let given = toml::from_str(&config).unwrap();
            let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
            let horizon = Horizon { steps: 60 };
            let config = OptimizerConfig::from_section(&options, horizon, constant(1.0)).unwrap();
            let mut params = params_of::<f64>(&[vec![5, 4]], &[vec![0.0; 20]]);
            let mut optimizer = Optimizer::new(config, &params).unwrap();
            for step in 0..3 {
                let grads: Vec<f64> = (0..20).map(|i| f64::from(i * i % 7) - 2.5).collect();
                let grads = grads_of::<f64>(&params, &[grads]);
                optimizer.step(step, &mut params, &grads).unwrap();
            }
            params.tensors()[0].1.to_f64_vec()
        };
        assert!(moved(1) == moved(1) && moved(1) != moved(2), "{rule}");
    }
}
