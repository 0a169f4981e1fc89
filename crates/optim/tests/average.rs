//! Rules that train one point and hand out another.

mod common;

use std::collections::BTreeMap;

use common::{grads_of, grads_of_some, params_of};
use rappel_optim::{
    AdamW, OptimError, Optimizer, OptimizerConfig, ParamGroup, ScheduleFreeAdamW,
    ScheduleFreeRAdam, ScheduleFreeSgd, StateDtype,
};
use rappel_schedule::Schedule;
use rappel_tensor::{DType, Element, Params, TensorFile, write_tensors};
use rappel_testkit::{Random, assert_close_floor};

const SHAPES: [&[usize]; 3] = [&[], &[7], &[33, 65]];

fn draw(random: &mut Random) -> Vec<Vec<f64>> {
    SHAPES.iter().map(|shape| random.normals(shape.iter().product())).collect()
}

fn start<T: Element>(random: &mut Random) -> Params {
    let shapes: Vec<Vec<usize>> = SHAPES.iter().map(|shape| shape.to_vec()).collect();
    params_of::<T>(&shapes, &draw(random))
}

fn steps<T: Element>(
    optimizer: &mut Optimizer,
    params: &mut Params,
    random: &mut Random,
    range: std::ops::Range<u64>,
) {
    for step in range {
        let grads = grads_of::<T>(params, &draw(random));
        optimizer.step(step, params, &grads).unwrap();
    }
}

fn values(params: &Params) -> Vec<Vec<f64>> {
    params.tensors().into_iter().map(|(_, tensor)| tensor.to_f64_vec()).collect()
}

fn state(optimizer: &Optimizer) -> Vec<(String, Vec<f64>)> {
    let tensors = optimizer.state_tensors().into_iter();
    tensors.map(|(name, tensor)| (name, tensor.to_f64_vec())).collect()
}

fn saved(tensors: Vec<(String, rappel_tensor::Tensor)>) -> TensorFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tensors.safetensors");
    write_tensors(&path, tensors, &BTreeMap::new()).unwrap();
    TensorFile::open(&path).unwrap()
}

fn there_and_back<T: Element>(config: OptimizerConfig, rounding: f64) {
    let mut random = Random::new(3);
    let mut params = start::<T>(&mut random);
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    steps::<T>(&mut optimizer, &mut params, &mut random, 0..9);
    let (trained, kept) = (values(&params), state(&optimizer));
    optimizer.eval(&mut params).unwrap();
    assert!(optimizer.evaluates());
    let average = values(&params);
    assert_ne!(average, trained);
    optimizer.eval(&mut params).unwrap();
    assert_eq!(values(&params), average, "a second time");
    optimizer.train(&mut params).unwrap();
    assert!(!optimizer.evaluates());
    for (got, want) in values(&params).iter().zip(&trained) {
        assert_close_floor(got, want, rounding, 1.0, "there and back");
    }
    assert_eq!(state(&optimizer), kept);
    let back = values(&params);
    optimizer.train(&mut params).unwrap();
    assert_eq!(values(&params), back, "a second time");
}

#[test]
fn there_and_back_leaves_rounding_alone() {
    there_and_back::<f64>(ScheduleFreeSgd { lr: 0.1.into(), ..Default::default() }.into(), 1e-14);
    there_and_back::<f64>(ScheduleFreeAdamW::default().into(), 1e-14);
    there_and_back::<f64>(ScheduleFreeRAdam::default().into(), 1e-14);
    there_and_back::<f32>(ScheduleFreeAdamW::default().into(), 1e-6);
    let large = || ScheduleFreeAdamW { lr: 0.5.into(), ..Default::default() };
    there_and_back::<half::bf16>(large().into(), 1e-2);
    let eight = ParamGroup::from(large()).state_dtype(StateDtype::Block8 { from: 1 });
    let folder = OptimizerConfig::new(eight).group(["p0"], AdamW::default());
    there_and_back::<f32>(folder, 1e-6);
}

#[test]
fn a_step_on_the_average_is_an_error_that_changes_nothing() {
    let mut random = Random::new(5);
    let mut params = start::<f64>(&mut random);
    let mut optimizer = Optimizer::new(ScheduleFreeAdamW::default(), &params).unwrap();
    // Even before the first step, where there is nothing to move.
    optimizer.eval(&mut params).unwrap();
    let grads = grads_of::<f64>(&params, &draw(&mut random));
    let refused = optimizer.step(0, &mut params, &grads);
    assert!(matches!(refused, Err(OptimError::Evaluating)));
    drop(grads);
    optimizer.train(&mut params).unwrap();
    steps::<f64>(&mut optimizer, &mut params, &mut random, 0..3);
    optimizer.eval(&mut params).unwrap();
    let (before, kept) = (values(&params), state(&optimizer));
    let grads = grads_of::<f64>(&params, &draw(&mut random));
    let error = optimizer.step(3, &mut params, &grads).unwrap_err();
    assert!(error.to_string().contains("call the optimizer's `train` first"), "{error}");
    assert_eq!((values(&params), state(&optimizer)), (before, kept));
}

#[test]
fn state_that_was_saved_on_the_average_knows() {
    let mut random = Random::new(7);
    let mut params = start::<f32>(&mut random);
    let new = |params: &Params| Optimizer::new(ScheduleFreeAdamW::default(), params).unwrap();
    let mut optimizer = new(&params);
    steps::<f32>(&mut optimizer, &mut params, &mut random, 0..5);
    optimizer.eval(&mut params).unwrap();
    let (weights, kept) = (saved(params.tensors()), saved(optimizer.state_tensors()));
    let mut resumed_params = start::<f32>(&mut Random::new(1));
    let mut resumed = new(&resumed_params);
    resumed_params.load(&weights).unwrap();
    resumed.load_state(&kept).unwrap();
    assert!(resumed.evaluates());
    let draws = random.bits();
    for (optimizer, params) in [(&mut optimizer, &mut params), (&mut resumed, &mut resumed_params)]
    {
        optimizer.train(params).unwrap();
        steps::<f32>(optimizer, params, &mut Random::new(draws), 5..9);
    }
    assert_eq!(values(&params), values(&resumed_params));
    assert_eq!(state(&optimizer), state(&resumed));
}

#[test]
fn rules_without_an_average_are_left_alone() {
    let mut random = Random::new(9);
    let mut params = start::<f64>(&mut random);
    let rule = ScheduleFreeSgd { lr: 0.1.into(), ..Default::default() };
    let config = OptimizerConfig::new(AdamW::default()).group(["p1"], rule).allow_missing();
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    // The second has no gradient yet: it is its own average.
    for with_second in [false, true, true] {
        let all = draw(&mut random);
        let some: Vec<Option<&[f64]>> =
            (0..3).map(|i| (i != 1 || with_second).then_some(&all[i][..])).collect();
        let grads = grads_of_some::<f64>(&params, &some);
        optimizer.step(0, &mut params, &grads).unwrap();
        let trained = values(&params);
        optimizer.eval(&mut params).unwrap();
        let average = values(&params);
        optimizer.train(&mut params).unwrap();
        for i in [0, 2] {
            assert_eq!(trained[i], average[i]);
        }
    }
    let trained = values(&params);
    optimizer.eval(&mut params).unwrap();
    assert_ne!(trained[1], values(&params)[1]);
}

#[test]
fn the_average_stays_right_where_momentum_is_a_curve() {
    let momentum = |step: u64| 0.9 - 0.05 * step as f64;
    let curve = Schedule::from_fn(None, momentum);
    let (lr, decay) = (0.3, 0.1);
    let rule = ScheduleFreeSgd {
        lr: lr.into(),
        momentum: curve,
        weight_decay: decay.into(),
        r: 1.0.into(),
        ..Default::default()
    };
    let mut params = params_of::<f64>(&[vec![1]], &[vec![2.0]]);
    let mut optimizer = Optimizer::new(rule, &params).unwrap();
    let (mut x, mut y, mut z, mut sum) = (2.0, 2.0, 2.0, 0.0);
    let mut random = Random::new(11);
    for step in 0..8 {
        let g = random.normal();
        let grads = grads_of::<f64>(&params, &[vec![g]]);
        optimizer.step(step, &mut params, &grads).unwrap();
        // As the paper has it, all three points kept.
        let weight = (step + 1) as f64 * lr * lr;
        sum += weight;
        z -= lr * (g + decay * y);
        x += weight / sum * (z - x);
        y = (1.0 - momentum(step)) * z + momentum(step) * x;
        assert_close_floor(&values(&params)[0], &[y], 1e-13, 0.0, "y");
        optimizer.eval(&mut params).unwrap();
        assert_close_floor(&values(&params)[0], &[x], 1e-13, 0.0, "x");
        optimizer.train(&mut params).unwrap();
    }
}

#[test]
fn what_holds_parameters_keeps_full_precision() {
    let mut random = Random::new(13);
    let params = start::<f32>(&mut random);
    let plan = ParamGroup::from(ScheduleFreeAdamW::default()).state_dtype(StateDtype::Bf16);
    let optimizer = Optimizer::new(plan, &params).unwrap();
    for (name, tensor) in optimizer.state_tensors() {
        if name.starts_with("z.") {
            assert_eq!(tensor.dtype(), DType::F32, "{name}");
        } else if name.starts_with("exp_avg_sq.") {
            assert_eq!(tensor.dtype(), DType::BF16, "{name}");
        }
    }
}

#[test]
fn a_first_beta_of_zero_is_refused() {
    let params = start::<f32>(&mut Random::new(15));
    let betas = [0.0.into(), 0.999.into()];
    let refused = Optimizer::new(ScheduleFreeAdamW { betas, ..Default::default() }, &params);
    let error = refused.err().unwrap();
    assert!(error.to_string().contains("must be above 0"), "{error}");
}
