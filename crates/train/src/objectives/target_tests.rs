//! Losses and metrics against PyTorch's and scikit-learn's.

use rappel_tensor::{Init, Params};
use serde_json::Value;

use super::Loss;
use crate::models::{classification, regression, values};

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/tabular.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The numbers of a list, or of a list of lists.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        one => vec![one.as_f64().unwrap()],
    }
}

#[track_caller]
fn assert_close(got: &[f64], want: &[f64], about: &Value) {
    assert_eq!(got.len(), want.len(), "{about}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{about}: {got}, not {want}");
    }
}

#[test]
fn metrics_are_those_of_scikit_learn() {
    let golden = golden();
    let cases = golden["metrics"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let [told, targets, want] =
            ["predicted", "targets", "values"].map(|key| numbers(&case[key]));
        let got = match case["classes"].as_u64().unwrap() {
            0 => regression(&told, &targets).to_vec(),
            classes => classification(&told, &targets, classes as usize),
        };
        assert_close(&got, &want, &case["classes"]);
    }
}

#[test]
fn losses_and_their_gradients_are_those_of_pytorch() {
    let golden = golden();
    let cases = golden["losses"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let loss = match case["name"].as_str().unwrap() {
            "mse" => Loss::Squared,
            "mae" => Loss::Absolute,
            "huber" => Loss::Huber { delta: case["delta"].as_f64().unwrap() },
            _ => Loss::CrossEntropy { weights: numbers(&case["weights"]) },
        };
        let [given, targets] = ["outputs", "targets"].map(|key| numbers(&case[key]));
        let shape = [targets.len(), given.len() / targets.len()];
        let mut params = Params::with_dtype(0, rappel_tensor::DType::F64);
        let outputs = params.scope("").add("outputs", shape, Init::ZEROS);
        params.set(&outputs, &rappel_tensor::Tensor::from_slice(&given, shape)).unwrap();
        let label_smoothing = case["label_smoothing"].as_f64().unwrap_or(0.0);
        let mean = loss.sum(&outputs.tensor(), &targets, label_smoothing) / loss.weight(&targets);
        assert_close(&[mean.item()], &numbers(&case["loss"]), &case["name"]);
        let grad = values(&mean.backward().param(&outputs).unwrap());
        assert_close(&grad, &numbers(&case["grad"]), &case["name"]);
    }
}
