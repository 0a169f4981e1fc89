//! What single rules promise beside their trajectories.

mod common;

use common::{grads_of, params_of};
use half::bf16;
use rappel_optim::rule::Algorithm;
use rappel_optim::{
    Optimizer, OptimizerConfig, ParamGroup, RmsProp, Rprop, SparseAdam, StateDtype,
};
use rappel_tensor::{Element, Params};
use rappel_testkit::Random;

fn invalid(rule: impl Algorithm) -> String {
    let params = params_of::<f64>(&[vec![1]], &[vec![1.0]]);
    Optimizer::new(rule, &params).expect_err("an error").to_string()
}

#[test]
fn options_that_pytorch_refuses_are_errors() {
    for (etas, step_sizes, error) in [
        ([1.0, 1.2], [1e-6, 50.0], "`etas`: [1, 1.2]: expected the first below 1"),
        (
            [0.5, 1.0],
            [1e-6, 50.0],
            "`etas`: [0.5, 1]: expected the first below 1, the second above",
        ),
        ([0.0, 1.2], [1e-6, 50.0], "`etas`: 0 is out of range"),
        ([0.5, f64::NAN], [1e-6, 50.0], "`etas`: NaN is out of range"),
        ([0.5, 1.2], [1.0, 0.5], "`step_sizes`: [1, 0.5]: expected the smallest first"),
        ([0.5, 1.2], [-1.0, 0.5], "`step_sizes`: -1 is out of range"),
    ] {
        let got = invalid(Rprop { etas, step_sizes, ..Default::default() });
        assert!(got.contains(error), "{got}");
    }
    let got = invalid(SparseAdam { eps: 0.0.into(), ..Default::default() });
    assert!(got.contains("`eps`: 0 is out of range; expected (0, inf)"), "{got}");
    let got = invalid(RmsProp { alpha: 1.5.into(), ..Default::default() });
    assert!(got.contains("`alpha`: 1.5 is out of range; expected [0, 1]"), "{got}");
}

#[test]
fn a_steady_gradient_has_no_variance_and_no_nan() {
    // The square of the mean rounds above the mean of squares for some of these: PyTorch's root of
    // the difference is then NaN.
    let steady: Vec<f64> = (1..=100).map(|i| f64::from(i) * 0.1).collect();
    let mut params = params_of::<f64>(&[vec![100]], &[vec![0.0; 100]]);
    let rule = RmsProp { alpha: 0.5.into(), centered: true, eps: 1.0.into(), ..Default::default() };
    let mut optimizer = Optimizer::new(rule, &params).unwrap();
    let mut negative = 0;
    for step in 0..100 {
        let grads = grads_of::<f64>(&params, std::slice::from_ref(&steady));
        optimizer.step(step, &mut params, &grads).unwrap();
        let state = optimizer.state_tensors();
        let of = |name: &str| state.iter().find(|(n, _)| n == name).unwrap().1.to_vec::<f64>();
        let (squares, means) = (of("square_avg.p0"), of("grad_avg.p0"));
        negative += squares.iter().zip(means).filter(|(v, m)| **v < m * m).count();
    }
    assert!(negative > 0, "nothing rounded below zero: the test shows nothing");
    assert!(params.tensors()[0].1.first_non_finite().is_none());
}

fn bits(params: &Params, optimizer: &Optimizer, name: &str) -> Vec<u64> {
    let all = params.tensors().into_iter().chain(optimizer.state_tensors());
    let found = all.into_iter().find(|(n, _)| n == name).unwrap().1;
    found.to_f64_vec().into_iter().map(f64::to_bits).collect()
}

/// Rows of 3, 300 and 1 numbers, of which some have gradients. Parameters of the others keep their
/// bits, and their state, unless it shares blocks with others. The touched rows' parameters move, where
/// their precision can tell.
fn only_touched_rows_move<T: Element>(dtype: StateDtype, random_rounding: bool) {
    let shapes = [vec![50, 3], vec![6, 300], vec![700], vec![]];
    let mut random = Random::new(3);
    let init: Vec<Vec<f64>> = shapes.iter().map(|s| random.normals(s.iter().product())).collect();
    let mut params = params_of::<T>(&shapes, &init);
    let mut plan = ParamGroup::from(SparseAdam { lr: 0.1.into(), ..Default::default() });
    plan = plan.state_dtype(dtype);
    plan = if random_rounding { plan.stochastic_rounding() } else { plan };
    let plain = ParamGroup::from(SparseAdam { lr: 0.1.into(), ..Default::default() });
    let config = OptimizerConfig::new(plan).group(["p3"], plain);
    let mut optimizer = Optimizer::new(config, &params).unwrap();
    let (mut expected, mut moved) = (0, 0);
    for step in 0..6 {
        // At step 3, none at all.
        let touched = |row: usize| step != 3 && (row * 7 + step as usize) % 5 < 2;
        let width = |i: usize| shapes[i].iter().skip(1).product::<usize>();
        let grads: Vec<Vec<f64>> = (0..shapes.len())
            .map(|i| {
                let mut grads = random.normals(init[i].len());
                let each = grads.iter_mut().enumerate();
                each.filter(|(k, _)| !touched(k / width(i))).for_each(|(_, g)| *g = 0.0);
                grads
            })
            .collect();
        let names: Vec<String> = (0..shapes.len())
            .flat_map(|i| ["", "exp_avg.", "exp_avg_sq."].map(|slot| format!("{slot}p{i}")))
            .collect();
        let before: Vec<_> = names.iter().map(|name| bits(&params, &optimizer, name)).collect();
        let grads = grads_of::<T>(&params, &grads);
        optimizer.step(step, &mut params, &grads).unwrap();
        for (name, before) in names.iter().zip(before) {
            let after = bits(&params, &optimizer, name);
            let (state, i) = (name.contains('.'), name[name.len() - 1..].parse().unwrap());
            for (k, (before, after)) in before.iter().zip(&after).enumerate() {
                let at = format!("{name}[{k}] at step {step}");
                if !touched(k / width(i)) {
                    let shares = state && matches!(dtype, StateDtype::Block8 { .. });
                    assert!(shares || before == after, "{at} moved");
                } else if !state {
                    expected += 1;
                    moved += usize::from(before != after);
                }
            }
        }
    }
    assert!(moved * 10 > expected * 9, "{moved} of {expected} moved");
}

#[test]
fn rows_without_gradient_stay_whatever_the_precision() {
    only_touched_rows_move::<f64>(StateDtype::Full, false);
    for random_rounding in [false, true] {
        for dtype in [StateDtype::Full, StateDtype::Bf16, StateDtype::Block8 { from: 1 }] {
            only_touched_rows_move::<f32>(dtype, random_rounding);
            only_touched_rows_move::<bf16>(dtype, random_rounding);
        }
    }
}
