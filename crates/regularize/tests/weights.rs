//! What is done to weights, from a config's list, against PyTorch and against what defines it.

use std::collections::BTreeMap;

use rappel_config::{ConfigError, Family, Options};
use rappel_regularize::{
    Axis, ElasticNet, GroupLasso, L1, L2, Penalty, REGULARIZERS, Regularization,
};
use rappel_schedule::Horizon;
use rappel_tensor::{DType, Element, Init, Params, Tensor};
use rappel_testkit::{Golden, Random, assert_close};
use serde::Deserialize;
use toml::{Table, Value};

#[derive(Deserialize)]
struct Case {
    case: String,
    options: Table,
    members: Vec<String>,
}

fn section(options: &Table) -> Result<Options, ConfigError> {
    REGULARIZERS.resolve_options("regularize[0]", options)
}

/// The golden file's weights, in order of name, and the regularizer that `options` describe.
fn bound<T: Element>(golden: &Golden, options: &Table) -> (Params, Regularization) {
    let shapes: BTreeMap<String, Vec<usize>> = golden.meta("shapes");
    let mut params = Params::with_dtype(0, T::DTYPE);
    for (name, shape) in &shapes {
        params.scope("").add(name, &shape[..], Init::ZEROS);
    }
    for name in shapes.keys() {
        let (shape, values) = golden.f64(&format!("init/{name}"));
        let param = params.get(name).unwrap();
        params.set(&param, &Tensor::from_slice(&values, &shape[..])).unwrap();
    }
    let horizon = Horizon { steps: 10 };
    let mut all = Regularization::from_sections(&[section(options).unwrap()], horizon).unwrap();
    all.bind(&params).unwrap();
    (params, all)
}

#[test]
fn penalties_and_their_gradients_are_those_of_pytorch() {
    let golden = Golden::load("regularize_weights");
    let cases: Vec<Case> = golden.meta("penalties");
    assert_eq!(cases.len(), 8);
    for Case { case, options, members } in &cases {
        let (params, all) = bound::<f64>(&golden, options);
        let penalty = all.penalty(3).unwrap();
        let want = golden.scalar(&format!("{case}/value"));
        assert_close(&[penalty.item()], &[want], 1e-13, case);
        let grads = penalty.backward();
        for name in params.names() {
            let got = grads.param(&params.get(&name).unwrap());
            assert_eq!(got.is_some(), members.contains(&name), "{case} {name}");
            if let Some(got) = got {
                let want = golden.f64(&format!("{case}/grad/{name}")).1;
                assert_close(&got.to_vec::<f64>(), &want, 1e-12, &format!("{case} {name}"));
            }
        }
    }
}

#[test]
fn what_follows_a_step_is_that_of_pytorch() {
    let golden = Golden::load("regularize_weights");
    let cases: Vec<Case> = golden.meta("steps");
    let lr: f64 = golden.meta("lr");
    assert_eq!(cases.len(), 3);
    for Case { case, options, members } in &cases {
        let (mut params, all) = bound::<f64>(&golden, options);
        assert!(all.penalty(0).is_none() && all.moves_parameters().is_some());
        let before = params.get("bias").unwrap().tensor().to_vec::<f64>();
        all.after_step(0, &mut params, &|_| lr).unwrap();
        assert_eq!(params.get("bias").unwrap().tensor().to_vec::<f64>(), before, "{case}");
        for name in members {
            let got = params.get(name).unwrap().tensor().to_vec::<f64>();
            let want = golden.f64(&format!("{case}/{name}")).1;
            assert_close(&got, &want, 1e-15, &format!("{case} {name}"));
            let zeros = |values: &[f64]| values.iter().filter(|x| **x == 0.0).count();
            assert_eq!(zeros(&got), zeros(&want), "{case} {name}");
        }
    }
}

/// The proximal point is the least of a strictly convex function: no other point is as good.
#[test]
fn proximal_points_are_the_least() {
    let groups = |axis| GroupLasso { axis, scale_by_size: axis == Axis::Rows };
    let penalties: [Box<dyn Penalty>; 5] = [
        Box::new(L1),
        Box::new(L2),
        Box::new(ElasticNet { l1_ratio: 0.3 }),
        Box::new(groups(Axis::Rows)),
        Box::new(groups(Axis::Columns)),
    ];
    let (mut random, t, shape) = (Random::new(5), 0.9, [4, 6]);
    for penalty in &penalties {
        let w = Tensor::from_slice(&random.normals(24), shape);
        let cost = |x: &Tensor| t * penalty.size(x).item() + (x - &w).square().sum().item() / 2.0;
        let point = penalty.proximal(&w, t).unwrap();
        let least = cost(&point);
        assert!(least < cost(&w) && least < cost(&Tensor::zeros(shape, DType::F64)), "{penalty:?}");
        for i in 0..300 {
            let scale = 10_f64.powi(-(i % 5));
            let other = &point + &(Tensor::from_slice(&random.normals(24), shape) * scale);
            assert!(cost(&other) > least, "{penalty:?} at a distance of {scale}");
        }
    }
}

#[test]
fn proximal_group_lasso_makes_whole_rows_zero_and_no_others() {
    let golden = Golden::load("regularize_weights");
    for (groups, columns) in [("rows", false), ("columns", true)] {
        let options = format!(
            "name = 'group_lasso'\nlambda = 1.9\nproximal = true\nparams = ['tall']\n\
             scale_by_size = false\ngroups = '{groups}'"
        );
        let (mut params, all) = bound::<f32>(&golden, &toml::from_str(&options).unwrap());
        let matrix = |params: &Params| {
            let weight = params.get("tall").unwrap().tensor();
            if columns { weight.t().contiguous() } else { weight }.to_vec::<f32>()
        };
        let width = if columns { 6 } else { 2 };
        let norms = |values: &[f32]| -> Vec<f32> {
            let norm = |group: &[f32]| group.iter().map(|x| x * x).sum::<f32>().sqrt();
            values.chunks(width).map(norm).collect()
        };
        let before = matrix(&params);
        all.after_step(0, &mut params, &|_| 0.5).unwrap();
        let after = matrix(&params);
        for (i, norm) in norms(&before).iter().enumerate() {
            let group = &after[i * width..(i + 1) * width];
            let zeros = group.iter().filter(|x| **x == 0.0).count();
            assert_eq!(zeros == width, *norm <= 0.95, "{groups} {i} of norm {norm}");
        }
        let longer = norms(&before).iter().filter(|norm| **norm > 0.95).count();
        assert!(longer > 0 && longer < norms(&before).len(), "the case shows nothing");
    }
}

#[test]
fn a_factor_may_be_a_schedule() {
    let golden = Golden::load("regularize_weights");
    let given = "name = 'l2'\nlambda = { name = 'linear', value = 0.8 }";
    let (_, all) = bound::<f64>(&golden, &toml::from_str(given).unwrap());
    let at = |step| all.penalty(step).unwrap().item();
    assert_close(&[at(5), at(10)], &[at(0) / 2.0, 0.0], 1e-15, "halved, then gone");
}

#[test]
fn what_cannot_be_is_said() {
    let mut params = Params::new(0);
    params.scope("net").add("weight", [2, 2], Init::ONES);
    params.scope("net").add("bias", [2], Init::ONES);
    let told = |options: &str, params: &Params| {
        let options = match section(&toml::from_str(options).unwrap()) {
            Ok(options) => options,
            Err(error) => return error.to_string(),
        };
        let all = Regularization::from_sections(&[options], Horizon { steps: 10 });
        all.and_then(|mut all| all.bind(params)).unwrap_err().to_string()
    };
    for (options, expected) in [
        (
            "name = 'l2'\nlambda = -0.1",
            "`regularize[0].lambda`: -0.1 is out of range; expected float in [0, inf)",
        ),
        ("name = 'l2'", "`regularize[0].lambda`: missing"),
        ("name = 'l2'\nalpha = 1", "`regularize[0].alpha`: unknown; did you mean `lambda`?"),
        (
            "name = 'l1'\nlambda = { name = 'linear', value = -1.0 }",
            "`regularize[0].lambda`: the schedule gives -1 at step 0, out of [0, inf)",
        ),
        ("name = 'ridge'\nlambda = 1", "no regularizer is named `ridge`"),
        (
            "name = 'l2'\nlambda = 1\nparams = ['*.weights']",
            "`regularize[0].params`: `*.weights` matches no trainable parameter; one is `net.weight`",
        ),
        (
            "name = 'l2'\nlambda = 1\nparams = ['[']",
            "`regularize[0].params`: `[` is not a valid pattern",
        ),
        ("name = 'max_norm'\nmax_norm = 0", "`regularize[0].max_norm`: 0 is out of range"),
        (
            "name = 'elastic_net'\nlambda = 1\nl1_ratio = 1.1",
            "`regularize[0].l1_ratio`: 1.1 is out",
        ),
    ] {
        let told = told(options, &params);
        assert!(told.contains(expected), "{options}: {told}");
    }
    let mut params = Params::new(0);
    params.scope("net").add("bias", [2], Init::ONES);
    let told = told("name = 'l2'\nlambda = 1", &params);
    assert!(told.contains("no trainable parameter has two dimensions; name those"), "{told}");
    let noise: Value = toml::from_str("name = 'gradient_noise'").unwrap();
    let noise = section(noise.as_table().unwrap()).unwrap();
    let twice = Regularization::from_sections(&[noise.clone(), noise], Horizon { steps: 1 });
    let told = twice.err().unwrap().to_string();
    assert!(told.contains("`gradient_noise` is given twice"), "{told}");
}
