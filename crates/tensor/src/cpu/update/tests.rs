use half::bf16;

use super::memory::{Source, Typed};
use super::state::narrow;
use super::*;
use crate::dtype::{DType, Element};
use crate::random::Key;
use crate::real::Real;

/// Adds `g` to the parameter, and 1 to the state: every element must be met exactly once.
struct Count;
impl Update<1> for Count {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let one = R::of(1.0);
        #[inline(always)]
        move |p, g, [n]| (p + g, [n + one])
    }
}

/// Parameters of a type as a walk takes them.
trait Walked: Trained {
    fn memory<'a>(params: &'a mut [Self], grads: &'a [Self::Acc]) -> Typed<'a>;
}
impl Walked for f32 {
    fn memory<'a>(params: &'a mut [f32], grads: &'a [f32]) -> Typed<'a> {
        Typed::F32(params, grads)
    }
}
impl Walked for f64 {
    fn memory<'a>(params: &'a mut [f64], grads: &'a [f64]) -> Typed<'a> {
        Typed::F64(params, grads)
    }
}
impl Walked for bf16 {
    fn memory<'a>(params: &'a mut [bf16], grads: &'a [f32]) -> Typed<'a> {
        Typed::Bf16(params, grads)
    }
}

fn count<P: Walked>(runs: &[Run], len: usize, state_kind: StateKind) {
    let number = |i: usize| (i % 100) as f64;
    let mut params: Vec<P> = (0..len).map(|i| P::from_f64(number(i))).collect();
    let grads: Vec<P::Acc> = (0..len).map(|i| P::Acc::from_f64(number(i) + 1.0)).collect();
    let mut state = [StateArena::zeros(len, state_kind)];
    let typed = P::memory(&mut params, &grads);
    let mut memory = Memory { source: Source::Host(typed), state: &mut state, wrapping: None };
    update(&Runs::new(runs.to_vec()), &mut memory, None, &Count);
    let (mut in_params, mut in_state) = (vec![false; len], vec![false; len]);
    for run in runs {
        in_params[run.param..run.param + run.len].fill(true);
        in_state[run.state..run.state + run.len].fill(true);
    }
    let mut counts = vec![0.0; len];
    match state_kind {
        StateKind::Number(DType::F64) => {
            counts.copy_from_slice(state[0].as_slice());
        }
        StateKind::Number(DType::BF16) => {
            let stored = state[0].as_slice::<bf16>();
            counts.iter_mut().zip(stored).for_each(|(to, x)| *to = x.to_f64());
        }
        StateKind::Number(_) | StateKind::Master => {
            let stored = state[0].as_slice::<f32>();
            counts.iter_mut().zip(stored).for_each(|(to, x)| *to = f64::from(*x));
        }
        StateKind::Block8 { .. } => {
            let (codes, scales) = (state[0].as_slice::<u8>(), state[0].scales());
            for (i, to) in counts.iter_mut().enumerate() {
                // The code of the largest value is the last.
                *to = f64::from(scales[i / STATE_BLOCK]) * f64::from(codes[i] / 255);
            }
        }
    }
    for i in 0..len {
        let want = number(i) + if in_params[i] { number(i) + 1.0 } else { 0.0 };
        assert_eq!(params[i].to_f64(), want, "parameter {i}");
        assert_eq!(counts[i], f64::from(in_state[i]), "state {i}");
    }
}

#[test]
fn every_element_of_the_runs_is_updated_once_and_no_other() {
    let run = |param, state, len| Run { param, state, len };
    let shapes: [&[Run]; 5] = [
        &[],
        &[run(0, 0, 1)],
        &[run(3, 1, 17), run(30, 20, 0), run(40, 20, 5)],
        &[run(1, 0, 2 * PIECE + 5)],
        &[run(0, 0, PIECE - 3), run(PIECE, PIECE - 3, 7), run(PIECE + 64, PIECE + 4, PIECE)],
    ];
    for runs in shapes {
        count::<f32>(runs, 3 * PIECE, StateKind::Number(DType::F32));
        count::<f32>(runs, 3 * PIECE, StateKind::Number(DType::BF16));
        count::<f64>(runs, 3 * PIECE, StateKind::Number(DType::F64));
        count::<bf16>(runs, 3 * PIECE, StateKind::Number(DType::F32));
    }
}

#[test]
#[should_panic(expected = "overlap")]
fn runs_that_overlap_are_refused() {
    Runs::new(vec![Run { param: 0, state: 0, len: 3 }, Run { param: 2, state: 3, len: 3 }]);
}

#[test]
fn blocks_of_eight_bits_are_walked_whole() {
    let run = |param, state, len| Run { param, state, len };
    let shapes: [&[Run]; 3] = [
        &[run(0, 0, 3 * PIECE)],
        &[run(5, 0, 300), run(400, 512, PIECE + 77)],
        &[run(1, 256, 7), run(9, 512, 2 * PIECE)],
    ];
    for runs in shapes {
        count::<f32>(runs, 3 * PIECE, StateKind::Block8 { signed: false });
        count::<bf16>(runs, 3 * PIECE, StateKind::Block8 { signed: true });
    }
}

#[test]
fn dithered_rounding_is_right_on_average() {
    let x = 1.0 + 0.3 / 128.0;
    let mut sum = 0.0;
    for seed in 0..400 {
        let mut to = [bf16::ZERO; 100];
        narrow(&[x; 100], &mut to, Some(Key::new(seed).seeds()), 0);
        sum += to.iter().map(|v| v.to_f64()).sum::<f64>();
    }
    let share = (sum / 40_000.0 - 1.0) * 128.0;
    assert!((share - 0.3).abs() < 0.01, "{share}");
    let mut to = [bf16::ZERO; 3];
    narrow(&[f32::INFINITY, f32::NAN, -1.0], &mut to, Some([1, 2]), 0);
    assert!(to[0] == bf16::INFINITY && to[1].is_nan() && to[2] == bf16::NEG_ONE);
}

#[test]
#[should_panic(expected = "leave the arena")]
fn runs_beyond_the_arena_are_refused() {
    let runs = Runs::new(vec![Run { param: 0, state: 0, len: 5 }]);
    let (mut params, mut state) = ([0.0; 4], [StateArena::zeros(8, StateKind::Number(DType::F32))]);
    let typed = Typed::F32(&mut params, &[0.0; 4]);
    update(
        &runs,
        &mut Memory { source: Source::Host(typed), state: &mut state, wrapping: None },
        None,
        &Count,
    );
}
