//! Groups, missing gradients, and every error's text.

mod common;

use common::{grads_of, grads_of_some, params_of};
use rappel_config::Family;
use rappel_optim::{AdamW, OPTIMIZERS, OptimError, Optimizer, OptimizerConfig, Sgd};
use rappel_schedule::{Horizon, constant, linear_decay};
use rappel_tensor::{DType, Init, Params, ParamsError};

fn sgd(lr: f64) -> Sgd {
    Sgd { lr: lr.into(), ..Default::default() }
}

fn model() -> Params {
    let mut params = Params::new(0);
    for layer in ["h.0", "h.1"] {
        params.scope(layer).add("weight", [2, 2], Init::ONES);
        params.scope(layer).add("bias", [2], Init::ONES);
        params.scope(layer).add("ln.weight", [3], Init::ONES);
    }
    params
}

fn ones(params: &Params) -> Vec<Vec<f64>> {
    params.tensors().iter().map(|(_, tensor)| vec![1.0; tensor.count()]).collect()
}

fn new_error(config: OptimizerConfig) -> String {
    Optimizer::new(config, &model()).expect_err("an error").to_string()
}

fn section_error(section: &str) -> String {
    let given = toml::from_str(section).unwrap();
    let error = OPTIMIZERS
        .resolve_options("optimizer", &given)
        .and_then(|o| OptimizerConfig::from_section(&o, Horizon { steps: 10 }, constant(1.0)));
    error.expect_err("an error").to_string()
}

#[test]
fn the_first_matching_group_takes_a_parameter() {
    let section = "name = 'sgd'\nlr = 0.5\nweight_decay = 1\ngroups = [\
                   { params = ['*.ln.*', '*.bias'], weight_decay = 0 },\
                   { params = ['h.1.*'], lr = 0.25 }]";
    let given = toml::from_str(section).unwrap();
    let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
    let config =
        OptimizerConfig::from_section(&options, Horizon { steps: 10 }, constant(1.0)).unwrap();
    let mut params = model();
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    let names = optimizer.group_names();
    assert_eq!(names[0], ["h.0.weight"]);
    assert_eq!(names[1], ["h.0.bias", "h.0.ln.weight", "h.1.bias", "h.1.ln.weight"]);
    assert_eq!(names[2], ["h.1.weight"]);
    let grads = grads_of::<f32>(&params, &ones(&params));
    optimizer.step(0, &mut params, &grads).unwrap();
    let values: Vec<f64> = params.tensors().iter().map(|(_, t)| t.to_f64_vec()[0]).collect();
    // 1 - lr (1 + weight_decay).
    assert_eq!(values, [0.0, 0.5, 0.5, 0.5, 0.5, 0.5]);
}

#[test]
fn groups_may_follow_different_rules() {
    let mut params = model();
    let config = OptimizerConfig::new(AdamW::default()).group(["*.bias"], sgd(0.5));
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    let grads = grads_of::<f32>(&params, &ones(&params));
    optimizer.step(0, &mut params, &grads).unwrap();
    assert_eq!(params.get("h.1.bias").unwrap().tensor().to_vec::<f32>(), [0.5; 2]);
    let state = optimizer.state_tensors();
    let has = |name: &str| state.iter().any(|(n, _)| n == name);
    assert!(has("exp_avg.h.0.weight") && !has("exp_avg.h.0.bias") && has("step.h.0.bias"));
    assert_eq!((optimizer.state_bytes(), optimizer.bytes_moved()), (14 * 8, 14 * 28 + 4 * 12));
}

#[test]
fn patterns_that_get_nothing_are_errors() {
    let group =
        |patterns: &[&str]| OptimizerConfig::new(sgd(0.1)).group(patterns.to_vec(), sgd(0.1));
    assert_eq!(
        new_error(group(&["*.bias", "ln.*"])),
        "optimizer group 0: `ln.*` matches no trainable parameter; patterns are compared with \
         full names such as `h.0.weight`, first match wins; mend it or leave it out"
    );
    let shadowed = new_error(group(&["*.bias"]).group(["h.1.bias"], sgd(0.1)));
    assert!(shadowed.contains("group 1: `h.1.bias` matches only what earlier"), "{shadowed}");
    assert!(
        new_error(group(&["a[b"])).starts_with("optimizer group 0: `a[b` is not a valid pattern")
    );
}

#[test]
fn options_out_of_range_are_errors() {
    assert_eq!(
        new_error(sgd(-1.0).into()),
        "optimizer: option `lr`: -1 is out of range; expected [0, inf)"
    );
    let nesterov = Sgd { nesterov: true, ..sgd(0.1) };
    assert!(new_error(nesterov.into()).contains("`nesterov`: needs a momentum above 0"));
    let betas = AdamW { betas: [0.9.into(), 1.0.into()], ..Default::default() };
    assert!(new_error(betas.into()).contains("`betas`: 1 is out of range; expected [0, 1)"));
    for (config, option) in [
        (OptimizerConfig::new(sgd(0.1)).max_grad_norm(f64::NAN), "max_grad_norm"),
        (OptimizerConfig::new(sgd(0.1)).clip_value(-1.0), "clip_value"),
        (OptimizerConfig::new(sgd(0.1)).norm_type(0.0), "norm_type"),
        (OptimizerConfig::new(sgd(0.1)).group(["*.bias"], sgd(-2.0)), "lr"),
    ] {
        assert!(new_error(config).contains(&format!("option `{option}`")));
    }
}

#[test]
fn errors_of_configs_name_the_key() {
    for (section, start) in [
        ("name = 'adamww'", "config key `optimizer.name`: no optimizer is named `adamww`; did you"),
        ("name = 'sgd'\nlearning_rat = 1", "config key `optimizer.learning_rat`: unknown"),
        ("name = 'sgd'\nnesterov = true", "config key `optimizer.nesterov`: needs a momentum"),
        (
            "name = 'adam'\nbetas = 0.9",
            "config key `optimizer.betas`: expected list of 2 floats in [0, 1) or schedules, got the float 0.9",
        ),
        ("name = 'adam'\nbetas = [0.9, 1]", "config key `optimizer.betas[1]`: 1 is out of range"),
        ("name = 'sgd'\ngroups = 3", "config key `optimizer.groups`: expected a list of { params"),
        ("name = 'sgd'\ngroups = [{}]", "config key `optimizer.groups[0].params`: missing"),
        (
            "name = 'sgd'\ngroups = [{ params = ['a'], lr = -1 }]",
            "config key `optimizer.groups[0].lr`: -1 is out of range",
        ),
        (
            "name = 'sgd'\ngroups = [{ params = ['a'], eps = 1 }]",
            "config key `optimizer.groups[0].eps`: unknown",
        ),
    ] {
        let error = section_error(section);
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn a_parameter_without_gradient_is_an_error_or_left_alone() {
    let shapes = [vec![1], vec![1], vec![1]];
    let start = [vec![1.0], vec![1.0], vec![1.0]];
    let adamw = || AdamW { lr: 0.1.into(), ..Default::default() };
    let mut params = params_of::<f64>(&shapes, &start);
    let mut strict = Optimizer::new(adamw(), &params).unwrap();
    let one: &[f64] = &[1.0];
    let grads = grads_of_some::<f64>(&params, &[Some(one), None, None]);
    assert_eq!(
        strict.step(0, &mut params, &grads).unwrap_err().to_string(),
        "parameter `p1` got no gradient, nor did 1 other; use it in the loss, freeze it, or allow \
         missing gradients"
    );
    // With p1 missing once, each parameter still goes its own way, as one alone would.
    let mut loose = Optimizer::new(OptimizerConfig::new(adamw()).allow_missing(), &params).unwrap();
    for (step, middle) in [Some(one), None, Some(one)].into_iter().enumerate() {
        let grads = grads_of_some::<f64>(&params, &[Some(one), middle, Some(one)]);
        loose.step(step as u64, &mut params, &grads).unwrap();
    }
    let alone = |steps: u64| {
        let mut params = params_of::<f64>(&shapes[..1], &start[..1]);
        let mut optimizer = Optimizer::new(adamw(), &params).unwrap();
        for step in 0..steps {
            let grads = grads_of::<f64>(&params, &[vec![1.0]]);
            optimizer.step(step, &mut params, &grads).unwrap();
        }
        params.tensors()[0].1.item()
    };
    let values: Vec<f64> = params.tensors().iter().map(|(_, tensor)| tensor.item()).collect();
    assert_eq!(values, [alone(3), alone(2), alone(3)]);
}

#[test]
fn gradients_that_are_not_finite_change_nothing() {
    let mut params = params_of::<f32>(&[vec![2], vec![3]], &[vec![1.0; 2], vec![1.0; 3]]);
    let mut optimizer = Optimizer::new(sgd(0.1), &params).unwrap();
    let grads = grads_of::<f32>(&params, &[vec![1.0; 2], vec![0.0, f64::NAN, f64::INFINITY]]);
    assert_eq!(
        optimizer.step(7, &mut params, &grads).unwrap_err().to_string(),
        "the gradient of `p1` is NaN at element 1 (step 7); parameters are unchanged"
    );
    let grads = grads_of::<f32>(&params, &[vec![1.0; 2], vec![3e38, 3e38, 0.0]]);
    let error = optimizer.step(8, &mut params, &grads).unwrap_err();
    assert!(matches!(&error, OptimError::NormOverflow { name, .. } if name == "p1"), "{error}");
    assert!(params.tensors().iter().all(|(_, t)| t.to_f64_vec().iter().all(|x| *x == 1.0)));
    assert!(optimizer.state_tensors().iter().all(|(_, step)| step.item() == 0.0));
}

#[test]
fn parameters_in_use_others_and_none_are_errors() {
    let mut params = model();
    let mut optimizer = Optimizer::new(sgd(0.1), &params).unwrap();
    let grads = grads_of::<f32>(&params, &ones(&params));
    let held = params.get("h.0.bias").unwrap().tensor();
    let error = optimizer.step(0, &mut params, &grads).unwrap_err();
    assert!(matches!(error, OptimError::Params(ParamsError::InUse)), "{error}");
    drop(held);
    let error = optimizer.step(0, &mut model(), &grads).unwrap_err();
    assert!(matches!(error, OptimError::OtherParams), "{error}");
    let mut frozen = model();
    frozen.freeze(|_| true).unwrap();
    let error = Optimizer::new(sgd(0.1), &frozen).expect_err("an error");
    assert!(matches!(error, OptimError::NothingToTrain), "{error}");
    optimizer.step(0, &mut params, &grads).unwrap();
}

#[test]
fn state_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let save = |params: &Params| {
        let optimizer = Optimizer::new(AdamW::default(), params).unwrap();
        let none = std::collections::BTreeMap::new();
        rappel_tensor::write_tensors(&path, optimizer.state_tensors(), &none).unwrap();
        rappel_tensor::TensorFile::open(&path).unwrap()
    };
    let params = |shape: &[usize], dtype: DType| {
        let mut params = Params::with_dtype(0, dtype);
        params.scope("").add("w", shape, Init::ONES);
        params
    };
    let wanted = params(&[2], DType::F32);
    let mut optimizer = Optimizer::new(AdamW::default(), &wanted).unwrap();
    let mut refuse = |file, text: &str| {
        let error = optimizer.load_state(&file).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    refuse(save(&params(&[3], DType::F32)), "`exp_avg.w` has shape [3], wanted [2]");
    refuse(save(&params(&[2], DType::F64)), "`exp_avg.w` holds f64, the optimizer keeps f32");
    refuse(save(&model()), "lacks tensor `step.w`");
    let mut more = params(&[2], DType::F32);
    more.scope("").add("v", [1], Init::ONES);
    refuse(save(&more), "has tensor `exp_avg.v`, which nothing here is called");
}

#[test]
fn sums_over_batches_are_averaged_in_the_same_pass() {
    let mut params = params_of::<f64>(&[vec![2]], &[vec![0.0; 2]]);
    let mut optimizer =
        Optimizer::new(OptimizerConfig::new(sgd(1.0)).max_grad_norm(1.0), &params).unwrap();
    let grads = grads_of::<f64>(&params, &[vec![6.0, 8.0]]);
    let report = optimizer.step_scaled(0, &mut params, &grads, 0.5).unwrap();
    assert_eq!(report.grad_norm, Some(5.0));
    assert_eq!(report.clip_coef, 1.0 / (5.0 + 1e-6));
    let moved = params.tensors()[0].1.to_vec::<f64>();
    assert!((moved[0] + 0.6).abs() < 1e-6 && (moved[1] + 0.8).abs() < 1e-6, "{moved:?}");
}

#[test]
fn the_norm_that_clips_may_follow_a_schedule() {
    let mut params = params_of::<f64>(&[vec![1]], &[vec![0.0]]);
    let config = OptimizerConfig::new(sgd(1.0)).max_grad_norm(linear_decay(4) * 8.0);
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    for (step, norm) in [(0, 8.0_f64), (1, 6.0), (2, 4.0), (3, 2.0)] {
        let grads = grads_of::<f64>(&params, &[vec![5.0]]);
        let report = optimizer.step(step, &mut params, &grads).unwrap();
        assert_eq!(report.clip_coef, (norm / (5.0 + 1e-6)).min(1.0), "step {step}");
    }
}

#[test]
fn a_scale_multiplies_every_learning_rate() {
    let mut params = params_of::<f64>(&[vec![1], vec![1]], &[vec![0.0], vec![0.0]]);
    let config = OptimizerConfig::new(sgd(1.0)).group(["p1"], sgd(2.0)).schedule(0.5);
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    optimizer.scale_schedule(&|_| 0.25);
    let grads = grads_of::<f64>(&params, &[vec![1.0], vec![1.0]]);
    assert_eq!(optimizer.step(0, &mut params, &grads).unwrap().lr, 0.125);
    let moved: Vec<f64> = params.tensors().iter().map(|(_, p)| p.to_vec::<f64>()[0]).collect();
    assert_eq!(moved, [-0.125, -0.25]);
}

#[test]
fn the_learning_rate_of_a_parameter_is_scaled_as_all_are() {
    let params = model();
    let config =
        OptimizerConfig::new(sgd(0.5)).group(["*.bias"], sgd(0.25)).schedule(linear_decay(4));
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    optimizer.scale_schedule(&|_| 0.125);
    let lr_of = |name: &str| optimizer.lr_of(2, params.get(name).unwrap().index());
    assert_eq!(lr_of("h.0.weight"), optimizer.lr(2));
    assert_eq!((lr_of("h.0.weight"), lr_of("h.1.bias")), (0.03125, 0.015_625));
}
