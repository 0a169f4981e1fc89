//! What every registered optimizer keeps to.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{grads_of, params_of};
use half::bf16;
use rappel_config::{Family, Info, Kind};
use rappel_optim::{OPTIMIZERS, OptimError, Optimizer, OptimizerConfig};
use rappel_schedule::{Horizon, Schedule, constant, linear_decay};
use rappel_tensor::{DType, Element, Params, Shape, TensorFile, write_tensors};
use rappel_testkit::functions::{self, TestFunction};
use rappel_testkit::{Random, assert_folder_matches, assert_sound};
use toml::{Table, Value};

const HORIZON: Horizon = Horizon { steps: 10 };

fn config(section: &Table) -> Result<OptimizerConfig, rappel_config::ConfigError> {
    let options = OPTIMIZERS.resolve_options("optimizer", section)?;
    OptimizerConfig::from_section(&options, HORIZON, constant(1.0))
}

fn section(info: &Info) -> Table {
    Table::from_iter([("name".to_owned(), Value::from(info.name))])
}

/// Each optimizer as it comes, and with each option away from its default where that can be.
fn variants() -> Vec<Table> {
    let mut all = Vec::new();
    for info in OPTIMIZERS.infos() {
        all.push(section(&info));
        for field in &info.fields {
            let value = match field.kind {
                Kind::Bool => Value::from(true),
                Kind::Scheduled { .. } => Value::from(0.25),
                _ => continue,
            };
            let mut section = section(&info);
            section.insert(field.name.to_owned(), value);
            all.extend(config(&section).is_ok().then_some(section));
        }
    }
    assert!(all.len() > 10);
    all
}

/// Of several ranks, empty ones among them.
const SHAPES: [&[usize]; 7] = [&[], &[0], &[7], &[3, 5], &[2, 0, 3], &[33, 65], &[4, 0]];

/// Those of `shapes` that the rule takes: one for matrices refuses the others, and says so.
fn taken(section: &Table, shapes: &[&[usize]]) -> Vec<Vec<usize>> {
    let takes = |shape: &&&[usize]| {
        let zeros = vec![0.0; shape.iter().product()];
        let params = params_of::<f64>(&[shape.to_vec()], &[zeros]);
        match Optimizer::new(config(section).unwrap(), &params) {
            Ok(_) => true,
            Err(OptimError::Refused { reason, .. }) => {
                assert!(reason.contains(&format!("{}", Shape::new(shape))), "{section}: {reason}");
                assert!(reason.contains("group"), "{section} tells no way out: {reason}");
                false
            }
            Err(error) => panic!("{section}: {error}"),
        }
    };
    let taken: Vec<Vec<usize>> = shapes.iter().filter(takes).map(|s| s.to_vec()).collect();
    assert!(!taken.is_empty(), "{section} takes none of {shapes:?}");
    taken
}

fn shapes(section: &Table) -> Vec<Vec<usize>> {
    let shapes = taken(section, &SHAPES);
    assert!(shapes.iter().any(|shape| shape.contains(&0)), "{section} refuses what is empty");
    shapes
}

fn normals(random: &mut Random, shapes: &[Vec<usize>]) -> Vec<Vec<f64>> {
    shapes.iter().map(|shape| random.normals(shape.iter().product())).collect()
}

fn bits(params: &Params, optimizer: &Optimizer) -> Vec<(String, Vec<u64>)> {
    let all = params.tensors().into_iter().chain(optimizer.state_tensors());
    let bits = |x: &f64| x.to_bits();
    all.map(|(name, t)| (name, t.to_f64_vec().iter().map(bits).collect())).collect()
}

fn saved(tensors: Vec<(String, rappel_tensor::Tensor)>) -> TensorFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tensors.safetensors");
    write_tensors(&path, tensors, &BTreeMap::new()).unwrap();
    TensorFile::open(&path).unwrap()
}

fn resume<T: Element>(section: &Table) {
    let (mut random, shapes) = (Random::new(7), shapes(section));
    let init = normals(&mut random, &shapes);
    let grads: Vec<Vec<Vec<f64>>> = (0..8).map(|_| normals(&mut random, &shapes)).collect();
    let probe = params_of::<T>(&shapes, &init);
    if let Err(OptimError::Refused { .. }) = Optimizer::new(config(section).unwrap(), &probe) {
        // Rules that train one point and hand out another keep no master copy.
        assert!(section.contains_key("master_weights") && T::DTYPE == DType::BF16, "{section}");
        return;
    }
    let start = || {
        let params = params_of::<T>(&shapes, &init);
        let optimizer = Optimizer::new(config(section).unwrap(), &params).unwrap();
        (params, optimizer)
    };
    let run = |params: &mut Params, optimizer: &mut Optimizer, steps: std::ops::Range<usize>| {
        for step in steps {
            let grads = grads_of::<T>(params, &grads[step]);
            optimizer.step(step as u64, params, &grads).unwrap();
        }
    };
    let (mut params, mut optimizer) = start();
    let kinds = |params: &Params| -> Vec<_> {
        params.tensors().into_iter().map(|(name, t)| (name, t.shape(), t.dtype())).collect()
    };
    let before = kinds(&params);
    run(&mut params, &mut optimizer, 0..4);
    let (weights, state) = (saved(params.tensors()), saved(optimizer.state_tensors()));
    let (mut resumed_params, mut resumed) = start();
    resumed_params.load(&weights).unwrap();
    resumed.load_state(&state).unwrap();
    assert_eq!(bits(&params, &optimizer), bits(&resumed_params, &resumed), "{section} round trip");
    run(&mut params, &mut optimizer, 4..8);
    run(&mut resumed_params, &mut resumed, 4..8);
    assert_eq!(bits(&params, &optimizer), bits(&resumed_params, &resumed), "{section} resumed");
    assert_eq!(before, kinds(&params), "{section}");
    let finite = |(_, t): (String, rappel_tensor::Tensor)| t.first_non_finite().is_none();
    assert!(params.tensors().into_iter().all(finite), "{section}");
    // A run saves no state that is not finite.
    assert!(optimizer.state_tensors().into_iter().all(finite), "{section}");
}

#[test]
fn resuming_from_saved_state_gives_the_same_bits() {
    for section in variants() {
        resume::<f32>(&section);
        resume::<f64>(&section);
        resume::<bf16>(&section);
    }
}

/// What an optimizer reaches from the function's start in 10,000 steps, the learning rate its own or
/// as given, fixed or falling to zero.
fn reached(info: &Info, function: &dyn TestFunction, lr: Option<f64>, falls: bool) -> f64 {
    let mut section = section(info);
    section.extend(lr.map(|lr| ("lr".to_owned(), lr.into())));
    if info.fields.iter().any(|field| field.name == "weight_decay") {
        section.insert("weight_decay".to_owned(), 0.0.into());
    }
    for (_, option, value) in TO_DESCEND.iter().filter(|(rule, ..)| *rule == info.name) {
        section.insert((*option).to_owned(), (*value).into());
    }
    let start = function.start();
    let shape = taken(&section, &[&[start.len()], &[1, start.len()]]).swap_remove(0);
    let mut params = params_of::<f64>(&[shape], std::slice::from_ref(&start));
    let factor = if falls { linear_decay(10_000) } else { constant(1.0) };
    let config = config(&section).unwrap().schedule(factor);
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    for step in 0..10_000 {
        let evaluate = |params: &Params| {
            let x = params.tensors()[0].1.to_vec::<f64>();
            let grads = grads_of::<f64>(params, &[function.gradient(&x)]);
            Ok::<_, OptimError>((function.value(&x), grads))
        };
        if optimizer.step_closure(step, &mut params, evaluate).is_err() {
            return f64::INFINITY;
        }
    }
    optimizer.eval(&mut params).unwrap();
    function.value(&params.tensors()[0].1.to_vec::<f64>())
}

/// Options that a rule needs to descend in ten thousand steps, each with its reason.
const TO_DESCEND: &[(&str, &str, f64)] = &[
    // The average reaches back to the start, and follows slowly unless later points weigh more.
    ("schedule_free_sgd", "r", 8.0),
    // A function is the mean over one prediction.
    ("sophia_g", "bs", 1.0),
];

#[test]
fn functions_are_descended() {
    // Steps in the parameter's unit, and of constant length, only settle where the rate falls.
    let tries = [false, true]
        .into_iter()
        .flat_map(|falls| [None, Some(1e-1), Some(1e-2), Some(1e-3)].map(|lr| (lr, falls)));
    for info in OPTIMIZERS.infos() {
        for function in functions::all() {
            let wanted = 1e-4 * function.value(&function.start());
            let mut all = Vec::new();
            let found = tries.clone().any(|(lr, falls)| {
                all.push(reached(&info, &*function, lr, falls));
                all[all.len() - 1] < wanted
            });
            assert!(found, "{} on {}: reached {all:?}", info.name, function.name());
        }
    }
}

/// The curve that the schedules below stand for.
fn falling(value: f64, step: u64) -> f64 {
    value * (10 - step) as f64 / 10.0
}

fn follows_schedule(name: &str, with: impl Fn(Value) -> Table) {
    let table = toml::from_str::<Table>("name = 'linear'\nvalue = 0.5").unwrap();
    let scheduled = with(Value::Table(table));
    let (mut random, shapes) = (Random::new(11), shapes(&scheduled));
    let init = normals(&mut random, &shapes);
    let mut params = params_of::<f64>(&shapes, &init);
    let mut optimizer = Optimizer::new(config(&scheduled).unwrap(), &params).unwrap();
    for step in 0..6 {
        let values = normals(&mut random, &shapes);
        let mut fixed_params = params_of::<f64>(&shapes, &init);
        fixed_params.load(&saved(params.tensors())).unwrap();
        let fixed = with(falling(0.5, step).into());
        let mut fixed = Optimizer::new(config(&fixed).unwrap(), &fixed_params).unwrap();
        fixed.load_state(&saved(optimizer.state_tensors())).unwrap();
        let grads = grads_of::<f64>(&params, &values);
        optimizer.step(step, &mut params, &grads).unwrap();
        let grads = grads_of::<f64>(&fixed_params, &values);
        fixed.step(step, &mut fixed_params, &grads).unwrap();
        let same = bits(&params, &optimizer) == bits(&fixed_params, &fixed);
        assert!(same, "{scheduled}: `{name}` at step {step}");
    }
}

#[test]
fn every_scalar_option_takes_a_schedule_of_the_step() {
    let mut tried = 0;
    for info in OPTIMIZERS.infos() {
        for field in &info.fields {
            let with = |value: Value| {
                let mut section = section(&info);
                section.insert(field.name.to_owned(), value);
                section
            };
            // A rule that refuses the option refuses its schedule.
            if let Kind::Scheduled { .. } = field.kind
                && config(&with(0.25.into())).is_ok()
            {
                tried += 1;
                follows_schedule(field.name, with);
            }
            if field.name == "betas" {
                let defaults = OPTIMIZERS.resolve_options("optimizer", &section(&info)).unwrap();
                let count = defaults.to_toml()["betas"].as_array().unwrap().len();
                for which in 0..count {
                    follows_schedule("betas", |value| {
                        let mut betas = vec![Value::from(0.75); count];
                        betas[which] = value;
                        let mut section = section(&info);
                        section.insert("betas".to_owned(), Value::Array(betas));
                        section
                    });
                }
            }
        }
    }
    assert!(tried >= 10);
}

#[test]
fn the_runs_schedule_multiplies_the_learning_rate() {
    for info in OPTIMIZERS.infos() {
        let (mut random, shapes) = (Random::new(3), shapes(&section(&info)));
        let (init, values) = (normals(&mut random, &shapes), normals(&mut random, &shapes));
        let moved = |lr: f64, factor: f64| {
            let mut params = params_of::<f64>(&shapes, &init);
            let mut section = section(&info);
            section.insert("lr".to_owned(), lr.into());
            let curve = Schedule::from_fn(None, move |_| factor);
            let config = config(&section).unwrap().schedule(curve);
            let mut optimizer = Optimizer::new(config, &params).unwrap();
            // Some rules only look around at the first steps.
            for step in 0..8 {
                let grads = grads_of::<f64>(&params, &values);
                let report = optimizer.step(step, &mut params, &grads).unwrap();
                assert_eq!(report.lr, lr * factor);
            }
            bits(&params, &optimizer)
        };
        assert!(moved(0.5, 0.25) == moved(0.125, 1.0), "{}", info.name);
        assert!(moved(0.5, 0.25) != moved(0.5, 1.0), "{}", info.name);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let shapes: [&[usize]; 6] =
        [&[100_003], &[3], &[50_000], &[150, 100], &[3, 50, 70], &[150, 100]];
    for info in OPTIMIZERS.infos() {
        let shapes = taken(&section(&info), &shapes);
        let run = || {
            let mut random = Random::new(5);
            let mut draw = || normals(&mut random, &shapes);
            let mut params = params_of::<f32>(&shapes, &draw());
            let config = config(&section(&info)).unwrap().max_grad_norm(1.0);
            let mut optimizer = Optimizer::new(config, &params).unwrap();
            for step in 0..3 {
                let grads = grads_of::<f32>(&params, &draw());
                optimizer.step(step, &mut params, &grads).unwrap();
            }
            bits(&params, &optimizer)
        };
        let with = |threads: usize| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
        };
        let one = with(1);
        for threads in [2, 3, 8] {
            assert!(with(threads) == one, "{} with {threads} threads", info.name);
        }
    }
}

#[test]
fn the_registry_lists_the_folder_and_describes_itself() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
    assert_folder_matches(&folder, &OPTIMIZERS.names());
    assert_sound(&OPTIMIZERS);
    for info in OPTIMIZERS.infos() {
        assert!(info.more.about.contains('`'), "{}: no formula in its documentation", info.name);
    }
}
