//! Averages of the weights beside an optimizer, against PyTorch's and diffusers'.

mod common;

use std::collections::BTreeMap;

use common::{grads_of, params_of};
use rappel_config::Family;
use rappel_optim::{
    AVERAGES, Averaging, Ema, Latest, Lbfgs, OptimError, Optimizer, OptimizerConfig, ParamGroup,
    Period, Sam, ScheduleFreeAdamW, Sgd, Swa, Wrappers,
};
use rappel_tensor::{DType, Element, Params, Tensor, TensorFile, write_tensors};
use rappel_testkit::{Golden, Random, assert_close_floor};

const SHAPE: [usize; 2] = [3, 5];

/// An optimizer that stays where it is.
fn still(average: impl Averaging + 'static) -> OptimizerConfig {
    OptimizerConfig::new(Sgd { lr: 0.0.into(), ..Default::default() }).average(average)
}

fn start<T: Element>() -> Params {
    params_of::<T>(&[SHAPE.to_vec(), vec![]], &[vec![0.0; 15], vec![1.0]])
}

/// A step that ends at `values`.
fn step<T: Element>(optimizer: &mut Optimizer, params: &mut Params, step: u64, values: &[f64]) {
    let param = params.get("p0").unwrap();
    params.set(&param, &Tensor::from_slice(values, SHAPE)).unwrap();
    let grads = grads_of::<T>(params, &[vec![0.0; 15], vec![0.0]]);
    optimizer.step(step, params, &grads).unwrap();
}

fn values(params: &Params) -> Vec<f64> {
    params.get("p0").unwrap().tensor().to_f64_vec()
}

fn saved(tensors: Vec<(String, Tensor)>) -> TensorFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tensors.safetensors");
    write_tensors(&path, tensors, &BTreeMap::new()).unwrap();
    TensorFile::open(&path).unwrap()
}

/// A config's section of each golden case.
const CASES: [(&str, &str); 6] = [
    ("ema", "name = 'ema'\ndecay = 0.9"),
    ("ema_period", "name = 'ema'\ndecay = 0.75\nstart = 5\nevery = 3"),
    ("ema_warmup", "name = 'ema'\ndecay = 0.9\nuse_ema_warmup = true\ninv_gamma = 2\npower = 0.75"),
    ("swa", "name = 'swa'"),
    ("swa_period", "name = 'swa'\nstart = 10\nevery = 4"),
    ("latest", "name = 'latest'\nk = 3\nevery = 5"),
];

fn parity<T: Element>(tolerance: f64) {
    let golden = Golden::load("averages");
    let (_, walk) = golden.f64("walk");
    for (case, section) in CASES {
        let options = AVERAGES.resolve_options("average", &toml::from_str(section).unwrap());
        let options = options.unwrap();
        let average = (AVERAGES.lookup(options.name()).unwrap().build)(&options).unwrap();
        let config = OptimizerConfig::new(Sgd { lr: 0.0.into(), ..Default::default() });
        let mut params = start::<T>();
        let mut optimizer = Optimizer::new(config.boxed_average(average), &params).unwrap();
        for (i, point) in walk.chunks(15).enumerate() {
            step::<T>(&mut optimizer, &mut params, i as u64, point);
            if ![1, 7, 40].contains(&(i + 1)) {
                continue;
            }
            let trained = values(&params);
            optimizer.eval(&mut params).unwrap();
            let (_, expected) = golden.f64(&format!("{case}.{}", i + 1));
            assert_close_floor(&values(&params), &expected, tolerance, 1.0, case);
            optimizer.train(&mut params).unwrap();
            assert_eq!(values(&params), trained, "{case}: to the bit");
        }
    }
}

#[test]
fn averages_are_those_of_pytorch_and_diffusers() {
    parity::<f64>(1e-13);
    parity::<f32>(1e-6);
    parity::<half::bf16>(1e-2);
}

#[test]
fn saved_anywhere_it_goes_on_to_the_same_bits() {
    let new = |params: &Params| {
        let latest = Latest { k: 10, period: Period { start: 1, every: 2 } };
        Optimizer::new(still(latest), params).unwrap()
    };
    let mut random = Random::new(3);
    let walk: Vec<Vec<f64>> = (0..40).map(|_| random.normals(15)).collect();
    for out in [false, true] {
        let mut params = start::<f32>();
        let mut optimizer = new(&params);
        for (i, point) in walk[..30].iter().enumerate() {
            step::<f32>(&mut optimizer, &mut params, i as u64, point);
        }
        if out {
            optimizer.eval(&mut params).unwrap();
        }
        let (weights, state) = (saved(params.tensors()), saved(optimizer.state_tensors()));
        assert_eq!(state.names().iter().any(|name| name == "held.p0"), out);
        let mut again = start::<f32>();
        let mut resumed = new(&again);
        again.load(&weights).unwrap();
        resumed.load_state(&state).unwrap();
        assert_eq!(resumed.evaluates(), out);
        for (optimizer, params) in [(&mut optimizer, &mut params), (&mut resumed, &mut again)] {
            optimizer.train(params).unwrap();
            for (i, point) in walk[30..].iter().enumerate() {
                step::<f32>(optimizer, params, 30 + i as u64, point);
            }
            optimizer.eval(params).unwrap();
        }
        assert_eq!(values(&params), values(&again));
        let tensors = |optimizer: &Optimizer| -> Vec<(String, Vec<f64>)> {
            let tensors = optimizer.state_tensors().into_iter();
            tensors.map(|(name, tensor)| (name, tensor.to_f64_vec())).collect()
        };
        assert_eq!(tensors(&optimizer), tensors(&resumed));
    }
}

#[test]
fn a_step_on_the_average_is_an_error() {
    let mut params = start::<f64>();
    let mut optimizer = Optimizer::new(still(Swa { period: Period::ALL }), &params).unwrap();
    step::<f64>(&mut optimizer, &mut params, 0, &[1.0; 15]);
    optimizer.eval(&mut params).unwrap();
    let grads = grads_of::<f64>(&params, &[vec![0.0; 15], vec![0.0]]);
    let refused = optimizer.step(1, &mut params, &grads);
    assert!(matches!(refused, Err(OptimError::Evaluating)));
}

#[test]
fn steps_that_search_are_taken_in_too() {
    let mut params = start::<f64>();
    let config = OptimizerConfig::new(Lbfgs::default()).average(Swa { period: Period::ALL });
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    let mut sum = vec![0.0; 15];
    for k in 0..3 {
        let w = params.get("p0").unwrap();
        let b = params.get("p1").unwrap();
        let target = 1.0 + k as f64;
        let loss = || (w.tensor() - target).square().sum() + b.tensor().square().sum();
        optimizer
            .step_closure(k, &mut params, |_| {
                let loss = loss();
                Ok::<_, OptimError>((loss.item(), loss.backward()))
            })
            .unwrap();
        sum.iter_mut().zip(values(&params)).for_each(|(sum, x)| *sum += x / 3.0);
    }
    optimizer.eval(&mut params).unwrap();
    assert_close_floor(&values(&params), &sum, 1e-14, 1.0, "the mean of three steps");
}

#[test]
fn steps_within_the_backward_pass_are_taken_in_too() {
    let config = || {
        OptimizerConfig::new(Sgd { lr: 0.1.into(), ..Default::default() }).average(Ema::default())
    };
    let average = |within: bool| {
        let mut params = start::<f32>();
        let mut optimizer = Optimizer::new(config(), &params).unwrap();
        for k in 0..5 {
            let sum = |name| (params.get(name).unwrap().tensor() - 2.0).square().sum();
            let loss = sum("p0") + sum("p1");
            let stepped = if within {
                optimizer.step_backward(k, &mut params, loss)
            } else {
                let grads = loss.backward();
                drop(loss);
                optimizer.step(k, &mut params, &grads)
            };
            stepped.unwrap();
        }
        optimizer.eval(&mut params).unwrap();
        values(&params)
    };
    assert_eq!(average(true), average(false));
}

/// The ways to take a step.
const KINDS: [&str; 5] = ["gradients", "closure", "backward", "sam", "search"];

fn recipe_of(kind: &str) -> OptimizerConfig {
    let sgd = Sgd { lr: 0.1.into(), ..Default::default() };
    let sam = Sam { rho: 0.05.into(), adaptive: false };
    match kind {
        "sam" => {
            ParamGroup::from(sgd).wrappers(Wrappers { sam: Some(sam), ..Default::default() }).into()
        }
        "search" => Lbfgs { lr: 0.1.into(), max_iter: 1, ..Default::default() }.into(),
        _ => sgd.into(),
    }
}

/// Where three steps end, with small elements made 0 after each.
fn thresholded(kind: &str, averaged: bool) -> Vec<f64> {
    let config = recipe_of(kind).after_step(|step, params, lr| {
        let param = params.get("p0").unwrap();
        assert_eq!(lr(&param), 0.1, "step {step}");
        let kept = |x: &f64| if x.abs() < 0.4 { 0.0 } else { *x };
        let values: Vec<f64> = param.tensor().to_f64_vec().iter().map(kept).collect();
        params.set(&param, &Tensor::from_slice(&values, SHAPE))
    });
    let latest = Latest { k: 1, period: Period::ALL };
    let config = if averaged { config.average(latest) } else { config };
    let mut params = start::<f64>();
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    let targets: Vec<f64> = (0..15).map(|i| f64::from(i) / 5.0).collect();
    for k in 0..3 {
        let [w, b] = ["p0", "p1"].map(|name| params.get(name).unwrap());
        let loss = || {
            let apart = w.tensor() - Tensor::from_slice(&targets, SHAPE);
            apart.square().sum() + b.tensor().square().sum()
        };
        let evaluate = |_: &Params| {
            let loss = loss();
            Ok::<_, OptimError>((loss.item(), loss.backward()))
        };
        let stepped = match kind {
            "gradients" => optimizer.step(k, &mut params, &loss().backward()),
            "backward" => optimizer.step_backward(k, &mut params, loss()),
            _ => optimizer.step_closure(k, &mut params, evaluate),
        };
        stepped.unwrap();
    }
    optimizer.eval(&mut params).unwrap();
    values(&params)
}

#[test]
fn what_is_done_after_a_step_is_done_before_it_is_taken_in() {
    for kind in KINDS {
        let (plain, averaged) = (thresholded(kind, false), thresholded(kind, true));
        assert!(plain.contains(&0.0) && plain.iter().any(|x| *x > 0.4), "{kind}: {plain:?}");
        assert_eq!(averaged, plain, "{kind}");
    }
}

#[test]
fn a_rule_with_an_average_of_its_own_takes_no_other() {
    let config = OptimizerConfig::new(ScheduleFreeAdamW::default()).average(Ema::default());
    let error = Optimizer::new(config, &start::<f32>()).err().unwrap();
    assert!(error.to_string().contains("an average of its own"), "{error}");
}

#[test]
fn it_takes_the_memory_that_it_says() {
    let params = start::<f32>();
    let bytes = |config| Optimizer::new(config, &params).unwrap().state_bytes();
    let period = Period::ALL;
    assert_eq!(bytes(still(Ema::default())), 16 * 4);
    assert_eq!(bytes(still(Latest { k: 3, period })), 3 * 16 * 4);
    assert_eq!(start::<half::bf16>().layout().len(DType::F32), 0);
}
