//! Noise on gradients: its law, and what it depends on.

mod common;

use common::{grads_of, params_of};
use rappel_optim::{Optimizer, OptimizerConfig, ParamGroup, Sgd, Wrappers};
use rappel_schedule::Schedule;

/// What three steps of SGD with a learning rate of 1 and gradients of 0 leave: minus the noise.
fn noise(config: impl Fn(ParamGroup) -> OptimizerConfig, n: usize) -> Vec<Vec<f64>> {
    let sgd = Sgd { lr: 1.0.into(), ..Default::default() };
    let mut params = params_of::<f64>(&[vec![n], vec![3]], &[vec![0.0; n], vec![0.0; 3]]);
    let mut optimizer = Optimizer::new(config(ParamGroup::from(sgd)), &params).unwrap();
    let mut before = vec![0.0; n];
    (0..3)
        .map(|step| {
            let grads = grads_of::<f64>(&params, &[vec![0.0; n], vec![0.0; 3]]);
            optimizer.step(step, &mut params, &grads).unwrap();
            let now = params.tensors()[0].1.to_vec::<f64>();
            let moved = now.iter().zip(&before).map(|(now, before)| before - now).collect();
            before = now;
            moved
        })
        .collect()
}

fn falling(plan: ParamGroup) -> OptimizerConfig {
    let variance = Schedule::from_fn(None, |step| 0.3 / (1.0 + step as f64).powf(0.55));
    OptimizerConfig::new(plan).gradient_noise(variance).seed(5)
}

#[test]
fn its_mean_is_zero_and_its_variance_that_of_the_curve() {
    let n = 100_000;
    for (step, noise) in noise(falling, n).iter().enumerate() {
        let mean = noise.iter().sum::<f64>() / n as f64;
        let variance = noise.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        let want = 0.3 / (1.0 + step as f64).powf(0.55);
        // Four deviations of the mean and of the variance of so many normal numbers.
        assert!(mean.abs() < 4.0 * (want / n as f64).sqrt(), "step {step}: mean {mean}");
        let spread = want * (2.0 / n as f64).sqrt();
        assert!((variance - want).abs() < 4.0 * spread, "step {step}: {variance}, not {want}");
    }
}

#[test]
fn each_step_parameter_and_seed_has_its_own_and_clipping_comes_before() {
    let [first, second] = [0, 1].map(|step| noise(falling, 50)[step].clone());
    assert_ne!(first, second);
    assert_eq!(first, noise(falling, 50)[0]);
    // What a larger parameter begins with is the same: noise belongs to the place.
    assert_eq!(first[..], noise(falling, 40_000)[0][..50]);
    assert_ne!(first, noise(|plan| falling(plan).seed(6), 50)[0]);
    assert_eq!(first, noise(|plan| falling(plan).max_grad_norm(1e-3).clip_value(1e-3), 50)[0]);
}

#[test]
fn every_group_gets_it_whatever_stands_around_its_rule() {
    let plans = || {
        let cautious = Wrappers { cautious: true, ..Wrappers::default() };
        [ParamGroup::from(Sgd::default()), ParamGroup::from(Sgd::default()).wrappers(cautious)]
    };
    let moved = |noisy: bool| {
        let [first, second] = plans();
        let config = OptimizerConfig::new(first).group(["p1"], second);
        let config = if noisy { config.gradient_noise(1e-2) } else { config };
        let mut params = params_of::<f32>(&[vec![3], vec![2, 2]], &[vec![1.0; 3], vec![1.0; 4]]);
        let mut optimizer = Optimizer::new(config, &params).unwrap();
        let grads = grads_of::<f32>(&params, &[vec![0.1; 3], vec![0.1; 4]]);
        optimizer.step(0, &mut params, &grads).unwrap();
        params.tensors().into_iter().map(|(_, t)| t.to_vec::<f32>()).collect::<Vec<_>>()
    };
    let (plain, noisy) = (moved(false), moved(true));
    assert!(plain.iter().zip(&noisy).all(|(plain, noisy)| plain != noisy), "{plain:?} {noisy:?}");
}
