//! Trajectories of rules over whole tensors against their references.

mod common;

use std::collections::BTreeMap;

use common::{Float, grads_of, params_of, table};
use rappel_optim::{OPTIMIZERS, Optimizer, Recipe};
use rappel_registry::Family;
use rappel_schedule::{Curve, Horizon, constant};
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
            Curve::from_fn(None, move |step| scale[step as usize])
        } else {
            constant(1.0)
        };
        let recipe = Recipe::from_section(&options, Horizon { steps: 60 }, schedule).unwrap();
        Optimizer::new(recipe, params).unwrap()
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

/// Single precision where no number excuses another: those near zero are what is left of larger
/// ones, and the references themselves are as far from their own double precision.
const NOISE: f64 = 3e-5;

/// Every configuration of a file keeps within `f64` and `f32` of its reference, each number alone.
fn agrees(file: &str, count: usize, f64_tolerance: f64, f32_tolerance: f64) {
    let mut seen = 0;
    let mut worst: (f64, f64) = (0.0, 0.0);
    let mut failed = Vec::new();
    for case in Case::all(file) {
        seen += 1;
        let (wide, single) =
            (case.follow::<f64>("f64", &[], 0.0), case.follow::<f32>("f32", &[], 0.0));
        worst = (worst.0.max(wide), worst.1.max(single));
        if wide > f64_tolerance || single > f32_tolerance {
            failed.push(format!("{} is off by {wide:.1e} and {single:.1e}", case.config.name));
        }
    }
    assert_eq!(seen, count);
    assert!(failed.is_empty(), "{file}: {failed:#?}");
    println!("{file}: {:.1e} {:.1e}", worst.0, worst.1);
}

#[test]
fn adafactor_agrees_with_torch() {
    agrees("optimizers_torch_adafactor", 9, 1e-12, NOISE);
}

#[test]
fn muon_agrees_with_torch() {
    agrees("optimizers_torch_muon", 13, 1e-12, NOISE);
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
