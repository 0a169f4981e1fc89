//! Operations against the cases of a golden file, forward and backward.

use rappel_tensor::{DType, Tensor};
use rappel_testkit::{Golden, assert_close};

/// What a case computes, from its inputs; outputs in the order of their names.
pub type Function = dyn Fn(&Golden, &str, &[Tensor]) -> Vec<Tensor>;

/// The agreement that double precision reaches; the softmax of huge scores loses digits.
fn tolerance(case: &str, dtype: DType) -> f64 {
    match (dtype, case) {
        (DType::F64, "attention/causal_large_scores") => 1e-8,
        (DType::F64, _) => 1e-10,
        (_, "attention/causal_large_scores") => 2e-1,
        _ => 1e-3,
    }
}

/// The cases of an operation.
fn cases(golden: &Golden, op: &str) -> Vec<String> {
    let prefix = format!("{op}/");
    let mut cases: Vec<String> = golden
        .names(&prefix)
        .map(|name| name.splitn(3, '/').take(2).collect::<Vec<_>>().join("/"))
        .collect();
    cases.dedup();
    assert!(cases.len() > 2, "{op} has cases");
    cases
}

pub fn tensor(golden: &Golden, name: &str, dtype: DType) -> Tensor {
    let (shape, values) = golden.f64(name);
    Tensor::from_slice(&values, &shape[..]).to_dtype(dtype)
}

/// An option of a case, from the metadata.
pub fn argument(golden: &Golden, case: &str, name: &str) -> Option<f64> {
    let cases: serde_json::Value = golden.meta("cases");
    let case = cases.as_array().unwrap().iter().find(|c| c["name"] == case).unwrap();
    let value = &case["args"][name];
    value.as_bool().map(|b| f64::from(u8::from(b))).or_else(|| value.as_f64())
}

/// Runs every case of `op` with the `inputs` it has, and compares outputs and all gradients.
pub fn check(file: &str, op: &str, inputs: &[&str], outputs: &[&str], function: &Function) {
    let golden = Golden::load(file);
    for case in cases(&golden, op) {
        for dtype in [DType::F64, DType::F32] {
            let name = |kind: &str, what: &str| format!("{case}/{kind}/{what}");
            let given: Vec<&str> =
                inputs.iter().copied().filter(|i| golden.contains(&name("in", i))).collect();
            let leaves: Vec<Tensor> = given
                .iter()
                .map(|input| tensor(&golden, &name("in", input), dtype).requires_grad())
                .collect();
            let results = function(&golden, &case, &leaves);
            let rtol = tolerance(&case, dtype);
            let mut loss = Tensor::scalar(0.0, dtype);
            for (result, output) in results.iter().zip(outputs) {
                let (shape, want) = golden.f64(&name("out", output));
                assert_eq!(result.shape()[..], shape[..], "{case}");
                let what = format!("{case} {output} {dtype}");
                assert_close(&result.to_f64_vec(), &want, rtol, &what);
                loss = loss + (result * tensor(&golden, &name("grad_out", output), dtype)).sum();
            }
            let grads = loss.backward();
            for (leaf, input) in leaves.iter().zip(&given) {
                let (_, want) = golden.f64(&name("grad_in", input));
                let got = grads.of(leaf).unwrap().to_f64_vec();
                assert_close(&got, &want, rtol, &format!("{case} gradient of {input} {dtype}"));
            }
        }
    }
}
