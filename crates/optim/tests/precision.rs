//! State in less precision than it is computed in.

mod common;

use std::collections::BTreeMap;

use common::{grads_of, params_of, set};
use half::bf16;
use rappel_config::Family;
use rappel_optim::{
    AdamW, OPTIMIZERS, OptimError, Optimizer, OptimizerConfig, ParamGroup, StateDtype,
};
use rappel_schedule::{Horizon, constant};
use rappel_tensor::{DType, Params, Tensor, TensorFile, write_tensors};
use rappel_testkit::{Golden, Random, assert_close, widen};

fn config(section: &str) -> OptimizerConfig {
    let options = OPTIMIZERS.resolve_options("optimizer", &toml::from_str(section).unwrap());
    OptimizerConfig::from_section(&options.unwrap(), Horizon { steps: 100 }, constant(1.0)).unwrap()
}

fn state(optimizer: &Optimizer, name: &str) -> Tensor {
    let found = optimizer.state_tensors().into_iter().find(|(other, _)| other == name);
    found.unwrap_or_else(|| panic!("no state `{name}`")).1
}

#[test]
fn eight_bit_states_are_those_of_bitsandbytes() {
    let golden = Golden::load("precision");
    let (_, init) = golden.float("init");
    let (_, all) = golden.float("grads");
    let snapshots: Vec<usize> = golden.meta("snapshots");
    let mut params = params_of::<f32>(&[vec![init.len()]], std::slice::from_ref(&init));
    let section = "name = 'adamw'\nlr = 1e-2\nbetas = [0.9, 0.99]\nweight_decay = 0\n\
                   state_dtype = '8bit'";
    let mut optimizer = Optimizer::new(config(section), &params).unwrap();
    for step in 0..12 {
        let grads = all[step * init.len()..(step + 1) * init.len()].to_vec();
        let grads = grads_of::<f32>(&params, &[grads]);
        optimizer.step(step as u64, &mut params, &grads).unwrap();
        if !snapshots.contains(&(step + 1)) {
            continue;
        }
        for slot in ["exp_avg", "exp_avg_sq"] {
            let (_, scales) = golden.float(&format!("{}/absmax.{slot}", step + 1));
            let got = state(&optimizer, &format!("absmax.{slot}.p0")).to_f64_vec();
            // A scale is one number of its block, a code away from the reference's at most.
            assert_close(&got, &scales, 0.02, &format!("{slot} scales after {}", step + 1));
            let (_, want) = golden.i64(&format!("{}/{slot}", step + 1));
            let got = state(&optimizer, &format!("{slot}.p0")).to_f64_vec();
            let apart = |(got, want): (&f64, &i64)| (*got as i64 - want).abs();
            let apart: Vec<i64> = got.iter().zip(&want).map(apart).collect();
            let most = *apart.iter().max().unwrap();
            let share = apart.iter().filter(|d| **d > 0).count() as f64 / apart.len() as f64;
            assert!(most <= 1, "{slot} after {}: {most} codes apart", step + 1);
            assert!(share < 0.02, "{slot} after {}: {share} of the codes differ", step + 1);
        }
    }
}

/// `steps` steps on normal gradients, from parameters of these sizes.
fn run(params: &mut Params, optimizer: &mut Optimizer, steps: std::ops::Range<u64>) {
    for step in steps {
        let mut random = Random::new(100 + step);
        let sizes: Vec<usize> = params.tensors().iter().map(|(_, t)| t.count()).collect();
        let grads: Vec<Vec<f64>> = sizes.iter().map(|n| random.normals(*n)).collect();
        let grads = grads_of::<f32>(params, &grads);
        optimizer.step(step, params, &grads).unwrap();
    }
}

const SHAPES: [&[usize]; 4] = [&[5000], &[7], &[33, 300], &[0, 3]];

fn start(section: &str) -> (Params, Optimizer) {
    let shapes = SHAPES.map(<[usize]>::to_vec);
    let mut random = Random::new(3);
    let values: Vec<Vec<f64>> =
        shapes.iter().map(|shape| random.normals(shape.iter().product())).collect();
    let params = params_of::<f32>(&shapes, &values);
    let optimizer = Optimizer::new(config(section), &params).unwrap();
    (params, optimizer)
}

fn everything(params: &Params, optimizer: &Optimizer) -> Vec<(String, Vec<f64>)> {
    let all = params.tensors().into_iter().chain(optimizer.state_tensors());
    all.map(|(name, tensor)| (name, tensor.to_f64_vec())).collect()
}

#[test]
fn stored_state_goes_on_to_the_same_bits() {
    for precision in ["state_dtype = '8bit'", "state_dtype = 'bfloat16'"] {
        for rounding in ["", "\nstochastic_rounding = true"] {
            let section = format!("name = 'adamw'\nlr = 0.01\n{precision}{rounding}");
            let (mut params, mut optimizer) = start(&section);
            run(&mut params, &mut optimizer, 0..3);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.safetensors");
            write_tensors(&path, optimizer.state_tensors(), &BTreeMap::new()).unwrap();
            let (mut resumed, mut other) = start(&section);
            let values: Vec<Vec<f64>> =
                params.tensors().iter().map(|(_, t)| t.to_f64_vec()).collect();
            set(&mut resumed, &values);
            other.load_state(&TensorFile::open(&path).unwrap()).unwrap();
            run(&mut params, &mut optimizer, 3..6);
            run(&mut resumed, &mut other, 3..6);
            assert_eq!(everything(&params, &optimizer), everything(&resumed, &other), "{section}");
        }
    }
}

#[test]
fn any_number_of_threads_rounds_to_the_same_bits() {
    let section = "name = 'adamw'\nstate_dtype = '8bit'\nstochastic_rounding = true";
    let reached = [1, 3, 8].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut params, mut optimizer) = start(section);
            run(&mut params, &mut optimizer, 0..3);
            everything(&params, &optimizer)
        })
    });
    assert_eq!(reached[0], reached[1]);
    assert_eq!(reached[0], reached[2]);
}

#[test]
fn bytes_of_state_are_counted_as_they_are_stored() {
    let bytes = |section: &str| start(section).1.state_bytes();
    let numbers = 5000 + 7 + 9900;
    assert_eq!(bytes("name = 'adamw'"), numbers * 8);
    assert_eq!(bytes("name = 'adamw'\nstate_dtype = 'bfloat16'"), numbers * 4);
    let (large, blocks) = (5000 + 9900, 20 + 39);
    assert_eq!(bytes("name = 'adamw'\nstate_dtype = '8bit'"), 2 * (large + 4 * blocks) + 7 * 8);
    let (_, optimizer) = start("name = 'adamw'\nstate_dtype = '8bit'\nmin_8bit_size = 1");
    assert_eq!(optimizer.state_bytes(), 2 * (numbers + 4 * (blocks + 1)));
    let stored: usize = optimizer
        .state_tensors()
        .iter()
        .filter(|(name, _)| !name.starts_with("step."))
        .map(|(_, tensor)| tensor.count() * tensor.dtype().size())
        .sum();
    assert_eq!(stored, optimizer.state_bytes());
}

#[test]
fn steps_too_small_for_bfloat16_are_kept_on_average() {
    let n = 20_000;
    let reached = |stochastic: bool| {
        let mut params = Params::with_dtype(0, DType::BF16);
        params.scope("").add("p", n, rappel_tensor::Init::ONES);
        let sgd = rappel_optim::Sgd { lr: 1e-4.into(), ..Default::default() };
        let plan = if stochastic {
            ParamGroup::from(sgd).stochastic_rounding()
        } else {
            ParamGroup::from(sgd)
        };
        let mut optimizer = Optimizer::new(plan, &params).unwrap();
        for step in 0..100 {
            let grads = grads_of::<bf16>(&params, &[vec![1.0; n]]);
            optimizer.step(step, &mut params, &grads).unwrap();
        }
        params.tensors()[0].1.to_f64_vec().iter().sum::<f64>() / n as f64
    };
    // A hundredth in a hundred steps, each a fortieth of the distance between neighbours.
    assert_eq!(reached(false), 1.0);
    assert!((reached(true) - 0.99).abs() < 2e-4, "{}", reached(true));
}

#[test]
fn what_has_no_block_is_refused_by_name() {
    let refused = |params: &Params, dtype: StateDtype| {
        let plan = ParamGroup::from(AdamW::default()).state_dtype(dtype);
        match Optimizer::new(plan, params) {
            Err(error @ OptimError::Refused { .. }) => error.to_string(),
            other => panic!("{:?}", other.err()),
        }
    };
    let scalar = params_of::<f32>(&[vec![8], vec![]], &[vec![0.0; 8], vec![0.0]]);
    let told = refused(&scalar, StateDtype::BLOCK8);
    assert!(told.contains("`p1`") && told.contains("give it a group with"), "{told}");
    let double = params_of::<f64>(&[vec![8]], &[vec![0.0; 8]]);
    for dtype in [StateDtype::BLOCK8, StateDtype::Bf16] {
        let told = refused(&double, dtype);
        assert!(told.contains("`p0`") && told.contains("this one is f64"), "{told}");
    }
}

/// Parameters in bfloat16 after some steps of `section`, what their master copies hold, and the
/// parameters that single precision reaches from the same values.
fn beside_single(section: &str) -> [Vec<f64>; 3] {
    let (shape, mut random) = (vec![40, 30], Random::new(9));
    let values: Vec<f64> =
        random.normals(1200).iter().map(|x| bf16::from_f64(*x).to_f64()).collect();
    let all: Vec<Vec<f64>> = (0..12).map(|_| random.normals_f32(1200)).map(|g| widen(&g)).collect();
    let mut half = Params::with_dtype(0, DType::BF16);
    half.scope("").add("p0", &shape[..], rappel_tensor::Init::ZEROS);
    set(&mut half, std::slice::from_ref(&values));
    let mut single = params_of::<f32>(&[shape], std::slice::from_ref(&values));
    let with_master = format!("{section}\nmaster_weights = true");
    let mut optimizers = [
        Optimizer::new(config(&with_master), &half).unwrap(),
        Optimizer::new(config(section), &single).unwrap(),
    ];
    for (step, grads) in all.into_iter().enumerate() {
        // Gradients of bfloat16 parameters are in single precision, and given as they are.
        for (optimizer, params) in optimizers.iter_mut().zip([&mut half, &mut single]) {
            let mut given = rappel_tensor::Grads::default();
            let grad = Tensor::from_slice(&grads, [40, 30]).to_dtype(DType::F32);
            given.add(&params.get("p0").unwrap(), &grad);
            optimizer.step(step as u64, params, &given).unwrap();
        }
    }
    let values = |params: &Params| params.tensors()[0].1.to_f64_vec();
    let master = state(&optimizers[0], "master_param.p0").to_f64_vec();
    [values(&half), master, values(&single)]
}

#[test]
fn master_copies_are_what_single_precision_trains() {
    for section in [
        "name = 'adamw'\nlr = 1e-3",
        "name = 'sgd'\nlr = 1e-3\nmomentum = 0.9\nlookahead = { k = 3 }",
        "name = 'adamw'\nlr = 1e-3\ncautious = true\nl2 = 0.1",
        "name = 'lamb'\nlr = 1e-3",
        "name = 'muon'\nlr = 1e-3",
        "name = 'adamw'\nlr = 1e-3\nstate_dtype = '8bit'\nmin_8bit_size = 1",
    ] {
        let [half, master, single] = beside_single(section);
        // Sums over a tensor are of other pieces where these pass through copies.
        assert_close(&master, &single, 1e-6, section);
        let rounded = |x: &f64| bf16::from_f64(*x).to_f64();
        assert!(half.iter().eq(master.iter().map(rounded).collect::<Vec<_>>().iter()), "{section}");
    }
}
