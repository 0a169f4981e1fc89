//! What regularizes losses and forward passes: against PyTorch, and against the laws of its chance.

use std::cell::Cell;

use rappel_nn::{Dropout, Forward, Head, regularized_cross_entropy};
use rappel_regularize::{LossTerms, Mixup, Noise};
use rappel_tensor::{CrossEntropy, DType, Key, Tensor, WeightLayout, cross_entropy, linear, mse};
use rappel_testkit::{Golden, assert_close};
use serde_json::Value;

fn tensor(golden: &Golden, name: &str) -> Tensor {
    let (shape, values) = golden.f64(name);
    Tensor::from_slice(&values, &shape[..])
}

fn step(noise: Noise, i: u64) -> Forward {
    let key = Key::new(3).with(i);
    Forward::training(key).with_noise(noise)
}

#[test]
fn losses_and_their_gradients_are_those_of_pytorch() {
    let golden = Golden::load("regularize_losses");
    let cases: Vec<Value> = golden.meta("cases");
    assert_eq!(cases.len(), 7);
    let (shape, targets) = golden.i64("targets");
    let targets = Tensor::from_slice(&targets, &shape[..]);
    for case in &cases {
        let name = case["case"].as_str().unwrap();
        let term = |key: &str| case["terms"][key].as_f64().unwrap_or(0.0);
        let terms = LossTerms {
            label_smoothing: term("label_smoothing"),
            z_loss: term("z_loss"),
            confidence_penalty: term("confidence_penalty"),
            r_drop: term("r_drop"),
        };
        for fused in [true, false] {
            let [a, b, w] =
                ["hidden0", "hidden1", "weight"].map(|name| tensor(&golden, name).requires_grad());
            let calls = Cell::new(0);
            let outputs = |_: &Forward| {
                calls.set(calls.get() + 1);
                let hidden = if calls.get() == 1 { &a } else { &b };
                if fused { hidden.clone() } else { linear(hidden, &w, None, WeightLayout::OutIn) }
            };
            let head = fused.then(|| Head::new(w.clone()));
            let forward = step(Noise::default(), 0);
            let loss =
                regularized_cross_entropy(outputs, head.as_ref(), &targets, None, &terms, &forward);
            let what = format!("{name}, fused {fused}");
            assert_close(&[loss.item()], &[golden.scalar(&format!("{name}/value"))], 1e-13, &what);
            let grads = loss.backward();
            for (of, input) in [("hidden0", &a), ("hidden1", &b), ("weight", &w)] {
                let Some(grad) = grads.of(input) else {
                    assert!(of == "hidden1" && terms.r_drop == 0.0, "{what}: none for {of}");
                    continue;
                };
                let want = golden.f64(&format!("{name}/grad/{of}")).1;
                assert_close(&grad.to_vec::<f64>(), &want, 1e-12, &format!("{what}, {of}"));
            }
        }
    }
}

#[test]
fn a_forbidden_class_costs_no_entropy() {
    let logits = Tensor::from_slice(&[1.0_f64, f64::NEG_INFINITY, 2.0], [1, 3]).requires_grad();
    let targets = Tensor::from_slice(&[0_i64], [1]);
    let options = CrossEntropy { confidence_penalty: 0.5, ..CrossEntropy::default() };
    let loss = cross_entropy(&logits, &targets, &options);
    let p = 1.0 / (1.0 + 1.0_f64.exp());
    let entropy = -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
    assert_close(&[loss.item()], &[-p.ln() - 0.5 * entropy], 1e-14, "loss");
    let grad = loss.backward().of(&logits).unwrap().to_vec::<f64>();
    assert!(grad[1] == 0.0 && (grad[0] + grad[2]).abs() < 1e-15, "{grad:?}");
}

/// The mean of losses of many draws is that of PyTorch's, and of theory:
/// `|x w - y|^2 + p / (1 - p) sum x^2 w^2`.
#[test]
fn the_loss_under_dropout_is_that_of_pytorch_on_average() {
    let golden = Golden::load("regularize_losses");
    let [x, w, y] = ["x", "w", "y"].map(|name| tensor(&golden, &format!("dropout/{name}")));
    let draws = 20_000;
    for p in [0.1, 0.5, 0.9] {
        let layer = Dropout::new(p);
        let losses: Vec<f64> = (0..draws)
            .map(|i| {
                let kept = layer.forward(x.clone(), &step(Noise::default(), i));
                mse(&kept.matmul(&w), &y).item()
            })
            .collect();
        let n = draws as f64;
        let mean = losses.iter().sum::<f64>() / n;
        let error = (losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n / n).sqrt();
        let theirs = golden.scalar(&format!("dropout/{p}/mean"));
        let their_error = golden.scalar(&format!("dropout/{p}/error"));
        assert!((mean - theirs).abs() < 4.0 * error.hypot(their_error), "{p}: {mean}, {theirs}");
        let spread = x.square().matmul(&w.square()).mean().item() * p / (1.0 - p);
        let expected = mse(&x.matmul(&w), &y).item() + spread;
        assert!((mean - expected).abs() < 4.0 * error, "{p}: {mean}, {expected}");
    }
}

#[test]
fn what_dropout_keeps_is_scaled_and_regularizers_take_the_layers_place() {
    let x = Tensor::ones([100, 100], DType::F64).requires_grad();
    let given = Noise { dropout: Some(0.25), ..Noise::default() };
    for (layer, noise, p) in [
        (Dropout::new(0.6), Noise::default(), 0.6),
        (Dropout::new(0.6), given, 0.25),
        (Dropout::new(0.0), given, 0.25),
        (Dropout::of_attention(0.6), given, 0.6),
    ] {
        let y = layer.forward(x.clone(), &step(noise, 1));
        let kept = y.to_vec::<f64>();
        assert!(kept.iter().all(|y| *y == 0.0 || (y - 1.0 / (1.0 - p)).abs() < 1e-15));
        let share = kept.iter().filter(|y| **y == 0.0).count() as f64 / 1e4;
        assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / 1e4).sqrt(), "{share}, not {p}");
        // The gradient is the mask, scaled.
        assert_eq!(y.sum().backward().of(&x).unwrap().to_vec::<f64>(), kept);
        let evaluated = layer.forward(x.clone(), &Forward::evaluation());
        assert_eq!(evaluated.to_vec::<f64>(), x.to_vec::<f64>());
    }
}

#[test]
fn noise_on_embeddings_is_uniform_and_as_large_as_said() {
    let (batch, time, width, alpha) = (4, 25, 100, 5.0);
    let x = Tensor::randn([batch, time, width], DType::F64, Key::new(9));
    let noise = Noise { neftune: alpha, ..Noise::default() };
    let added = (step(noise, 0).embeddings(x.clone()) - &x).to_vec::<f64>();
    let bound = alpha / ((time * width) as f64).sqrt();
    let largest = added.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    assert!(largest <= bound && largest > 0.999 * bound, "{largest} of {bound}");
    let n = added.len() as f64;
    let (mean, variance) =
        (added.iter().sum::<f64>() / n, added.iter().map(|x| x * x).sum::<f64>() / n);
    let want = bound * bound / 3.0;
    assert!(mean.abs() < 4.0 * (want / n).sqrt(), "{mean}");
    // The fourth moment of a uniform number is bound^4 / 5.
    assert!((variance - want).abs() < 4.0 * bound * bound * ((0.2 - 1.0 / 9.0) / n).sqrt());
    // A sample's noise is about alpha / sqrt(3) long, whatever its size.
    let long = added[..time * width].iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((long - alpha / 3.0_f64.sqrt()).abs() < 0.1, "{long}");
    let evaluation = Forward::evaluation().with_noise(noise);
    assert_eq!(evaluation.embeddings(x.clone()).to_vec::<f64>(), x.to_vec::<f64>());
}

#[test]
fn depth_is_left_out_by_the_linear_rule_and_expected_sums_stay() {
    let (x, branch) = (Tensor::ones([50, 2, 3], DType::F64), Tensor::ones([50, 2, 3], DType::F64));
    for whole_batch in [false, true] {
        let noise = Noise { stochastic_depth: 0.4, whole_batch, ..Noise::default() };
        for block in 0..4 {
            let p = 0.4 * (block + 1) as f64 / 4.0;
            let (mut left_out, mut sum, draws) = (0, 0.0, 200);
            for i in 0..draws {
                let forward = step(noise, i).block(block, 4);
                let y = forward.residual(&x, branch.clone()).to_vec::<f64>();
                let samples: Vec<&[f64]> = y.chunks(6).collect();
                for sample in &samples {
                    // All of a sample's branch, or nothing of it.
                    assert!(sample.iter().all(|y| y == &sample[0]));
                    left_out += usize::from(sample[0] == 1.0);
                    sum += sample[0];
                }
                assert!(!whole_batch || samples.iter().all(|sample| sample == &samples[0]));
            }
            let n = f64::from(50 * draws as u32);
            let independent = if whole_batch { draws as f64 } else { n };
            let four = 4.0 * (p * (1.0 - p) / independent).sqrt();
            assert!((left_out as f64 / n - p).abs() < four, "block {block}: {left_out}");
            assert!((sum / n - 2.0).abs() < four / (1.0 - p), "block {block}: {sum}");
        }
    }
}

#[test]
fn channels_are_dropped_whole() {
    let noise = Noise { channel_dropout: 0.3, ..Noise::default() };
    let (batch, time, width) = (20, 7, 100);
    let zero = Tensor::zeros([batch, time, width], DType::F64);
    let ones = Tensor::ones([batch, time, width], DType::F64);
    let y = step(noise, 0).residual(&zero, ones).to_vec::<f64>();
    let mut dropped = 0;
    for sample in y.chunks(time * width) {
        for channel in 0..width {
            let of_channel: Vec<f64> = sample[channel..].iter().step_by(width).copied().collect();
            assert!(of_channel.iter().all(|y| *y == of_channel[0]));
            assert!(of_channel[0] == 0.0 || (of_channel[0] - 1.0 / 0.7).abs() < 1e-15);
            dropped += usize::from(of_channel[0] == 0.0);
        }
    }
    let share = dropped as f64 / 2000.0;
    assert!((share - 0.3).abs() < 4.0 * (0.21 / 2000.0_f64).sqrt(), "{share}");
}

#[test]
fn mixed_samples_have_mixed_losses() {
    let mixup = Mixup { alpha: 0.8, key: Key::new(5) };
    let forward = step(Noise { mixup: Some(mixup), ..Noise::default() }, 0);
    let x = Tensor::randn([6, 3], DType::F64, Key::new(1));
    let head = Head::new(Tensor::randn([4, 3], DType::F64, Key::new(2)));
    let labels = [3_i64, 0, 1, 2, 2, 1];
    let targets = Tensor::from_slice(&labels, [6]);
    let outputs = |forward: &Forward| forward.embeddings(x.clone());
    let terms = LossTerms::default();
    let loss = regularized_cross_entropy(outputs, Some(&head), &targets, None, &terms, &forward);
    let (w, partners) = (mixup.weight(), mixup.partners(6).to_vec::<i64>());
    let values = x.to_vec::<f64>();
    let row = |i: usize| &values[3 * i..3 * i + 3];
    let pair = |i: usize| row(i).iter().zip(row(partners[i] as usize));
    let mixed: Vec<f64> =
        (0..6).flat_map(|i| pair(i).map(|(a, b)| w * a + (1.0 - w) * b)).collect();
    let logits = Tensor::from_slice(&mixed, [6, 3])
        .matmul(&head.weight.tensor().t())
        .log_softmax(1)
        .to_vec::<f64>();
    let cost = |i: usize| {
        let of = |label: i64| -logits[4 * i + label as usize];
        w * of(labels[i]) + (1.0 - w) * of(labels[partners[i] as usize])
    };
    let want = (0..6).map(cost).sum::<f64>() / 6.0;
    assert_close(&[loss.item()], &[want], 1e-13, "loss");
    assert!((0..6).any(|i| partners[i] != i as i64) && w > 0.0 && w < 1.0);
}
