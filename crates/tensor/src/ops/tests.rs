//! Every operation's gradient against central differences, driven by the registry.

use super::{OPERATIONS, Sample, Sampler};
use crate::random::Key;
use crate::tensor::Tensor;

/// Draws per operation: each draws other shapes.
const ROUNDS: u64 = 8;
/// The largest error allowed, relative to the largest gradient of the sample.
const TOLERANCE: f64 = 1e-6;

/// A fixed linear functional of the output, so that every element matters differently.
fn functional(sample: &Sample, inputs: &[Tensor], key: Key) -> Tensor {
    let y = (sample.function)(inputs);
    let weights = Tensor::randn(y.shape(), y.dtype(), key);
    (y * weights).sum()
}

fn check(name: &str, sample: &Sample, key: Key) {
    let floats = |x: &Tensor| x.dtype().is_float();
    let leaves: Vec<Tensor> = sample
        .inputs
        .iter()
        .map(|x| if floats(x) { x.requires_grad() } else { x.clone() })
        .collect();
    let grads = functional(sample, &leaves, key).backward();
    for (k, input) in sample.inputs.iter().enumerate().filter(|(_, x)| floats(x)) {
        let values = input.to_vec::<f64>();
        let analytic = grads.of(&leaves[k]).map(Tensor::to_vec::<f64>);
        let analytic = analytic.unwrap_or_else(|| vec![0.0; values.len()]);
        let at = |i: usize, h: f64| {
            let mut moved = values.clone();
            moved[i] += h;
            let mut inputs = sample.inputs.clone();
            inputs[k] = Tensor::from_slice(&moved, input.shape());
            functional(sample, &inputs, key).item()
        };
        let numeric: Vec<f64> = (0..values.len())
            .map(|i| {
                // Richardson's step on top of central differences: error of fourth order.
                let h = 1e-3 * values[i].abs().max(1.0);
                let slope = |h: f64| (at(i, h) - at(i, -h)) / (2.0 * h);
                (4.0 * slope(h / 2.0) - slope(h)) / 3.0
            })
            .collect();
        let scale = numeric.iter().fold(1e-3_f64, |m, x| m.max(x.abs()));
        for (i, (a, n)) in analytic.iter().zip(&numeric).enumerate() {
            assert!(
                (a - n).abs() <= TOLERANCE * scale,
                "{name} ({}): input {k} {}, element {i}: backward {a}, differences {n}",
                sample.what,
                input.shape()
            );
        }
    }
}

#[test]
fn every_backward_agrees_with_central_differences() {
    for operation in OPERATIONS {
        for round in 0..ROUNDS {
            let key = Key::new(round).with_name(operation.name);
            let samples = (operation.samples)(&mut Sampler::new(key));
            assert!(!samples.is_empty(), "{} has no samples", operation.name);
            for sample in &samples {
                check(operation.name, sample, key);
            }
        }
    }
}

#[test]
fn the_registry_lists_the_folder() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| path.file_stem().map(|stem| stem.to_str().unwrap().to_owned()))
        .filter(|stem| !matches!(stem.as_str(), "mod" | "sample" | "tests"))
        .collect();
    files.sort();
    let names: Vec<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    assert_eq!(files, names, "a file in ops/ and its line in OPERATIONS belong together");
}
