//! Every operation, forward and back, on an emulated GPU in three orders of threads; every kernel's text through NVRTC.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use crate::device::Device;
use crate::dtype::DType;
use crate::kernels::update::{Memory, Reduce, Run, Runs, StateArena, StateKind, Update};
use crate::kernels::update::{reduce_each, update, update_each};
use crate::ops::{OPERATIONS, Sampler};
use crate::params::{Arenas, Grads, Init, Param, Params};
use crate::random::Key;
use crate::real::Real;
use crate::tensor::Tensor;

/// A copy of a tensor that lies on a device alone.
fn sent(x: &Tensor, device: Device) -> Tensor {
    let mut x = x.copied();
    Arc::get_mut(&mut x.buffer).unwrap().on_mut(device);
    x
}

type Values = Vec<f64>;

fn run(function: &dyn Fn(&[Tensor]) -> Tensor, inputs: &[Tensor]) -> (Values, Vec<Option<Values>>) {
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::requires_grad).collect();
    let y = function(&leaves);
    let grads = y.square().sum().backward();
    let grads = leaves.iter().map(|x| grads.of(x).map(Tensor::to_f64_vec));
    (y.to_f64_vec(), grads.collect())
}

/// The largest difference relative to the largest value.
fn distance(found: &[f64], want: &[f64]) -> f64 {
    assert_eq!(found.len(), want.len());
    let size =
        want.iter().fold(1.0_f64, |size, x| if x.is_finite() { size.max(x.abs()) } else { size });
    let apart = |(a, b): (&f64, &f64)| match (a - b).abs() {
        _ if a == b || a.is_nan() && b.is_nan() => 0.0,
        apart if apart.is_nan() => f64::INFINITY,
        apart => apart / size,
    };
    found.iter().zip(want).map(apart).fold(0.0, f64::max)
}

fn every_operation_is_that_of_the_cores(device: Device) {
    for operation in OPERATIONS {
        let mut sampler = Sampler::new(Key::new(1).with_name(operation.name));
        for sample in (operation.samples)(&mut sampler) {
            let what = format!("{} ({}) on {device}", operation.name, sample.what);
            let there: Vec<Tensor> = sample.inputs.iter().map(|x| sent(x, device)).collect();
            let (found, want) =
                (run(&*sample.function, &there), run(&*sample.function, &sample.inputs));
            let apart = distance(&found.0, &want.0);
            assert!(apart <= 1e-11, "{what}: {apart:e}");
            for (found, want) in found.1.iter().zip(&want.1) {
                let empty = Vec::new();
                let apart =
                    distance(found.as_ref().unwrap_or(&empty), want.as_ref().unwrap_or(&empty));
                assert!(apart <= 1e-11, "{what}: gradient: {apart:e}");
            }
            assert!(
                run(&*sample.function, &there) == found || found.0.iter().any(|x| x.is_nan()),
                "{what}: other bits"
            );
        }
    }
}

#[test]
fn every_operation_is_that_of_the_cores_with_threads_upwards() {
    every_operation_is_that_of_the_cores(Device::Cuda(0));
}

#[test]
fn every_operation_is_that_of_the_cores_with_threads_downwards() {
    every_operation_is_that_of_the_cores(Device::Cuda(1));
}

#[test]
fn every_operation_is_that_of_the_cores_with_threads_mixed() {
    every_operation_is_that_of_the_cores(Device::Cuda(2));
}

#[test]
fn what_falls_back_is_counted() {
    let before: BTreeMap<_, _> = super::fallbacks().into_iter().collect();
    let x = sent(&Tensor::linspace(-1.0, 1.0, 6, crate::DType::F32), Device::Cuda(3));
    let _ = (&x + &x).exp();
    let _ = x.gt(0.0);
    let after: BTreeMap<_, _> = super::fallbacks().into_iter().collect();
    let new =
        |name: &str| after.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
    assert!(
        new("gt") >= 1 && !after.contains_key("add") && !after.contains_key("exp"),
        "{after:?}"
    );
}

/// A rule with everything that rules have: fused products, square roots, comparisons, numbers of the step.
struct Rule(f64);

impl Update<2> for Rule {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 2]) -> (R, [R; 2]) {
        let (lr, share, eps) = (R::of(self.0), R::of(0.1), R::of(1e-8));
        let rest = R::of(1.0) - share;
        #[inline(always)]
        move |p, g, [m, v]| {
            let m = m.lerp(g, share);
            let v = (v * rest + g.square() * share).max(R::of(0.0));
            let step = R::select(m.lt(R::of(0.0)), m / (v.sqrt() + eps), m.abs() * lr);
            (step.mul_add(-lr, p), [m, v])
        }
    }
}

struct Norms;

impl Reduce<1, 2> for Norms {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> ([R; 1], [R; 2]) {
        #[inline(always)]
        |p, g, [m]| ([m + g], [p.square(), g.square()])
    }
}

/// Three steps over odd lengths: parameters, state and sums.
fn stepped(
    device: Device,
    dtype: DType,
    kinds: &[StateKind],
    rounds: bool,
) -> (Vec<Vec<f64>>, Vec<[f64; 2]>) {
    let mut params = Params::with_dtype(5, dtype).on(device);
    let held: Vec<Param> = [[7, 3], [1, 1], [513, 9], [40, 100]]
        .into_iter()
        .enumerate()
        .map(|(i, shape)| params.scope("p").add(&format!("w{i}"), shape, Init::Normal { std: 1.0 }))
        .collect();
    let layout = params.layout();
    let len = layout.trainable_len(dtype);
    let mut state: Vec<StateArena> =
        kinds.iter().map(|kind| StateArena::zeros(len, *kind)).collect();
    let run = |entry: &crate::Entry| Run {
        param: entry.offset,
        state: entry.offset,
        len: entry.shape.count(),
    };
    let runs = Runs::new(layout.entries().iter().map(run).collect());
    let mut found = Vec::new();
    for step in 0..3_u64 {
        let mut grads = Grads::default();
        for (i, param) in held.iter().enumerate() {
            let key = Key::new(step).with(i as u64);
            grads.add(param, &Tensor::randn(param.tensor().shape(), dtype.accumulator(), key));
        }
        let rounding = rounds.then(|| Key::new(9).with(step));
        let rules: Vec<Rule> = (0..4).map(|i| Rule(1e-2 * f64::from(i + 1))).collect();
        let memory = |arenas: &mut Arenas<'_>, state: &mut [StateArena]| {
            let mut memory = Memory::of_arenas(arenas, dtype, Some(&grads), state);
            if step == 0 {
                memory.begin_master(runs.as_slice());
            }
            update(&runs, &mut memory, rounding, &rules[0]);
            update_each(&runs, &mut memory, rounding, &rules);
        };
        params.update(|arenas| memory(arenas, &mut state)).unwrap();
        let mut kept = [StateArena::zeros(len, StateKind::Number(dtype.accumulator()))];
        let mut sums = Vec::new();
        let add = |arenas: &mut Arenas<'_>| {
            let mut memory = Memory::of_arenas(arenas, dtype, Some(&grads), &mut kept);
            sums = reduce_each(&runs, &mut memory, None, &Norms);
        };
        params.update(add).unwrap();
        found.extend(sums);
    }
    let mut values: Vec<Vec<f64>> = params.tensors().iter().map(|(_, x)| x.to_f64_vec()).collect();
    for (arena, kind) in state.iter().zip(kinds) {
        values.push(match kind {
            StateKind::Number(DType::F64) => arena.as_slice::<f64>().to_vec(),
            StateKind::Number(DType::BF16) => {
                arena.as_slice::<half::bf16>().iter().map(|x| x.to_f64()).collect()
            }
            _ => arena.as_slice::<f32>().iter().map(|x| f64::from(*x)).collect(),
        });
    }
    (values, found)
}

#[test]
fn a_step_of_a_rule_leaves_the_bits_of_the_cores() {
    use StateKind::{Master, Number};
    let (single, half) = (Number(DType::F32), Number(DType::BF16));
    for (dtype, kinds, rounds) in [
        (DType::F32, vec![single, single], false),
        (DType::F32, vec![half, single], true),
        (DType::F64, vec![Number(DType::F64), Number(DType::F64)], false),
        (DType::BF16, vec![single, single], false),
        (DType::BF16, vec![single, half], true),
        (DType::BF16, vec![single, half, Master], true),
    ] {
        for device in [Device::Cuda(0), Device::Cuda(1), Device::Cuda(2)] {
            let (values, sums) = stepped(device, dtype, &kinds, rounds);
            let (want, wanted) = stepped(Device::Cpu, dtype, &kinds, rounds);
            for (found, want) in values.iter().zip(&want) {
                let same = found.iter().zip(want).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(same, None, "{dtype} {kinds:?} on {device}");
            }
            for (found, want) in sums.as_flattened().iter().zip(wanted.as_flattened()) {
                assert!(
                    (found - want).abs() <= 1e-5 * want.abs(),
                    "{dtype} on {device}: {found} {want}"
                );
            }
        }
    }
}

/// NVRTC, where this machine has it: in `RAPPEL_CUDA_PATH`, or where packages put it. `.ci/run` installs it.
fn nvrtc() -> Option<super::compiler::Compiler> {
    let found = super::compiler::Compiler::open();
    if let Err(reason) = &found {
        eprintln!("SKIPPED, kernels were not compiled for GPUs: {reason}");
        assert!(std::env::var_os("RAPPEL_REQUIRE_NVRTC").is_none(), "{reason}");
    }
    found.ok()
}

/// The registers of a log's functions, and bytes of stack and spills.
fn usage(log: &str) -> Vec<(u32, Vec<u32>)> {
    let number = |text: &str| text.split(' ').next().and_then(|n| n.parse::<u32>().ok());
    let stacks = log.lines().filter(|line| line.contains("bytes stack frame"));
    let stacks =
        stacks.map(|line| line.split(',').filter_map(|part| number(part.trim())).collect());
    let registers = log.lines().filter_map(|line| number(line.split_once("Used ")?.1));
    registers.zip(stacks).collect()
}

#[test]
fn every_kernel_compiles_for_gpus_without_spills() {
    let Some(compiler) = nvrtc() else { return };
    // What the samples of all operations and a step of rules launch.
    super::texts::collect();
    every_operation_is_that_of_the_cores(Device::Cuda(0));
    for kinds in [
        vec![StateKind::Number(DType::F32); 2],
        vec![StateKind::Number(DType::F32), StateKind::Number(DType::BF16), StateKind::Master],
    ] {
        let dtype = if kinds.len() == 2 { DType::F32 } else { DType::BF16 };
        stepped(Device::Cuda(0), dtype, &kinds, true);
    }
    let texts = super::texts::take();
    assert!(texts.len() > 50, "{}", texts.len());
    // Samples are in double precision, which only tests use; the same kernels serve the other types, and of these each GPU
    // compiles a share, so that all of it is seen in a minute.
    let narrowed = |to: &str| {
        let texts = texts.iter().filter(|(text, _)| !text.contains("typedef double real;"));
        texts
            .map(|(text, exact)| (text.replace("typedef double", &format!("typedef {to}")), *exact))
            .collect::<BTreeSet<_>>()
    };
    let (single, half) = (narrowed("float"), narrowed("bf16"));
    let rules = texts.iter().filter(|(text, _)| text.contains("typedef float real;"));
    let rules: BTreeSet<_> = rules.cloned().collect();
    for (arch, texts) in
        [("sm_80", &single), ("sm_90a", &half), ("sm_120", &single), ("sm_120", &rules)]
    {
        texts.par_iter().for_each(|(text, exact)| compiles(&compiler, arch, text, *exact));
    }
}

fn compiles(compiler: &super::compiler::Compiler, arch: &str, text: &str, exact: bool) {
    let compiled = compiler.compile(&format!("{}\n{text}", super::PRELUDE), arch, exact);
    let compiled = compiled.unwrap_or_else(|error| panic!("{arch}: {error}\n{text}"));
    let used = usage(&compiled.log);
    assert!(!used.is_empty(), "{}", compiled.log);
    for (registers, memory) in used {
        assert!(
            memory.iter().all(|bytes| *bytes == 0),
            "{arch}: stack or spills {memory:?} in {text}"
        );
        assert!(registers <= 168, "{arch}: {registers} registers in {text}");
    }
}
