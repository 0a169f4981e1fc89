//! Twenty AdamW steps of the small GPT-2 against transformers and PyTorch: warm-up, clipping, every
//! weight at the end.

#[path = "../../model/tests/common/mod.rs"]
mod common;

use common::{config, model};
use rappel_model::LanguageModel;
use rappel_nn::Forward;
use rappel_optim::{AdamW, Optimizer, OptimizerConfig};
use rappel_schedule::{constant, linear_warmup};
use rappel_tensor::{CrossEntropy, DType, Params, Tensor};
use rappel_testkit::{Golden, assert_close, assert_close_floor};
use serde_json::Value;

/// How closely the two must agree.
struct Tolerance {
    /// Losses, norms and weights.
    rtol: f64,
    /// Elements of a tensor below this share of its largest are compared on that scale.
    floor: f64,
}

fn optimizer(golden: &Golden, params: &Params) -> Optimizer {
    let options: Value = golden.meta("adamw");
    let number = |value: &Value| value.as_f64().unwrap();
    let adamw = AdamW {
        lr: number(&options["lr"]).into(),
        betas: [0, 1].map(|i| number(&options["betas"][i]).into()),
        eps: number(&options["eps"]).into(),
        weight_decay: number(&options["weight_decay"]).into(),
        ..Default::default()
    };
    let warmup = golden.meta::<Value>("schedule")["warmup_steps"].as_u64().unwrap();
    let recipe = OptimizerConfig::new(adamw)
        .max_grad_norm(golden.meta::<f64>("max_grad_norm"))
        .schedule(linear_warmup(warmup).then(constant(1.0)));
    Optimizer::new(recipe, params).unwrap()
}

/// Input and labels of each step, shifted against each other.
fn batches(golden: &Golden) -> Vec<[Tensor; 2]> {
    let (shape, ids) = golden.i64("step_ids");
    let [_, batch, time] = shape[..] else { panic!("step_ids have shape {shape:?}") };
    let shift = |ids: &[i64], by: usize| -> Tensor {
        let rows: Vec<i64> =
            ids.chunks_exact(time).flat_map(|row| &row[by..by + time - 1]).copied().collect();
        Tensor::from_slice(&rows, [batch, time - 1])
    };
    ids.chunks_exact(batch * time).map(|ids| [0, 1].map(|by| shift(ids, by))).collect()
}

fn train(golden: &Golden, prefix: &str, dtype: DType, tolerance: &Tolerance) -> Params {
    let (model, mut params): (Box<dyn LanguageModel>, _) =
        model(golden, &config(golden, dtype, true));
    let mut optimizer = optimizer(golden, &params);
    let (_, lrs) = golden.f64("lrs");
    let (_, losses) = golden.float(&format!("{prefix}/step_losses"));
    let (_, norms) = golden.float(&format!("{prefix}/step_grad_norms"));
    assert!(norms.iter().any(|norm| *norm > 1.0), "something is clipped: {norms:?}");
    for (step, [input, labels]) in batches(golden).into_iter().enumerate() {
        let options = CrossEntropy::default();
        let loss = model.loss(&input, &labels, None, &options, &Forward::evaluation());
        let at = |what: &str| format!("{what} of step {step}");
        assert_close(&[loss.item()], &losses[step..=step], tolerance.rtol, &at("loss"));
        let grads = loss.backward();
        drop(loss);
        let report = optimizer.step(step as u64, &mut params, &grads).unwrap();
        let norm = report.grad_norm.unwrap();
        assert_close(&[norm], &norms[step..=step], tolerance.rtol, &at("norm"));
        assert_close(&[report.lr], &lrs[step..=step], 1e-14, &at("learning rate"));
    }
    params
}

/// The weights at the end; the elements of key biases apart, whose gradient is exactly 0 but for
/// rounding, which Adam divides by its own size: `keys` compares those.
fn check(golden: &Golden, prefix: &str, params: &Params, tolerance: &Tolerance, keys: &Tolerance) {
    let prefix = format!("{prefix}/final/");
    let tensors = params.tensors();
    assert_eq!(golden.names(&prefix).count(), tensors.len());
    for (name, tensor) in tensors {
        let (_, want) = golden.float(&format!("{prefix}{name}"));
        let got = tensor.to_f64_vec();
        let Tolerance { rtol, floor } = *tolerance;
        if name.ends_with("c_attn.bias") {
            let width = want.len() / 3;
            let others = |x: &[f64]| [&x[..width], &x[2 * width..]].concat();
            assert_close_floor(&others(&got), &others(&want), rtol, floor, &name);
            // Over the whole tensor, so that its largest element sets the scale.
            assert_close_floor(&got, &want, keys.rtol, keys.floor, &name);
        } else {
            assert_close_floor(&got, &want, rtol, floor, &name);
        }
    }
}

#[test]
fn twenty_steps_agree_in_double_precision() {
    let golden = Golden::load("gpt2_small");
    let tolerance = Tolerance { rtol: 1e-10, floor: 1e-3 };
    let params = train(&golden, "f64", DType::F64, &tolerance);
    check(&golden, "f64", &params, &tolerance, &Tolerance { rtol: 1e-10, floor: 1.0 });
}

#[test]
fn twenty_steps_agree_in_single_precision() {
    let golden = Golden::load("gpt2_small");
    let tolerance = Tolerance { rtol: 1e-4, floor: 1e-3 };
    let params = train(&golden, "f32", DType::F32, &tolerance);
    // What two ways of PyTorch differ by themselves is 5e-3 of the largest.
    check(&golden, "f32", &params, &tolerance, &Tolerance { rtol: 2e-2, floor: 1.0 });
}
