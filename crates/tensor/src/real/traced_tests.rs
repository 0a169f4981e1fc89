//! Every formula of the operations as C, compiled by the system's compiler, against vector registers.

use std::any::type_name;
use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{C_FLOAT, Program, Real, trace};
use crate::kernels::args::{Formula, Pair};
use crate::kernels::map::{map, map_pair};
use crate::ops::{OPERATIONS, Sampler};
use crate::random::Key;
use crate::tensor::Tensor;
use rappel_testkit::c::{CFunction, Compiled, numbers};

/// Places that each formula is compared at.
const COUNT: usize = 1_000_000;
/// The largest distance allowed where a formula has a transcendental function, whose last digits no two
/// libraries share: relative to the result, or to the product of the operands above 1 where that is
/// larger.
const BOUND: f32 = 2e-6;
/// What no two libraries compute alike.
const TRANSCENDENTAL: [&str; 7] = ["EXP(", "LN(", "TANH(", "ERF(", "SIN(", "COS(", "POW("];

type Function = Box<dyn Fn(&[Tensor]) -> Vec<Tensor>>;

/// A formula that an operation computed.
struct Met {
    program: Program,
    run: Function,
}

thread_local! {
    static MET: RefCell<Option<BTreeMap<String, Met>>> = const { RefCell::new(None) };
}

fn first<T: Copy, const N: usize>(x: &[T]) -> [T; N] {
    std::array::from_fn(|i| x[i])
}

fn each<const N: usize>(x: &[Tensor]) -> [&Tensor; N] {
    std::array::from_fn(|i| &x[i])
}

/// Notes a formula, while somebody collects them.
pub(crate) fn met<const N: usize, F: Formula<N>>(formula: F) {
    note(&format!("{} of {N}", type_name::<F>()), || Met {
        program: trace(N, |x| vec![formula.eval(first(x))]),
        run: Box::new(move |x| vec![map("formula", each::<N>(x), formula)]),
    });
}

/// [`met`] for a formula of two results.
pub(crate) fn met_pair<const N: usize, F: Pair<N>>(formula: F) {
    note(&format!("{} of {N}", type_name::<F>()), || Met {
        program: trace(N, |x| formula.eval(first(x)).to_vec()),
        run: Box::new(move |x| map_pair("formula", each::<N>(x), formula).to_vec()),
    });
}

fn note(name: &str, make: impl FnOnce() -> Met) {
    MET.with_borrow_mut(|met| {
        if let Some(met) = met
            && !met.contains_key(name)
        {
            met.insert(name.to_owned(), make());
        }
    });
}

/// What the samples of all operations compute, forward and back.
fn formulas() -> BTreeMap<String, Met> {
    MET.set(Some(BTreeMap::new()));
    for operation in OPERATIONS {
        let key = Key::new(1).with_name(operation.name);
        for sample in (operation.samples)(&mut Sampler::new(key)) {
            let leaves: Vec<Tensor> = sample.inputs.iter().map(Tensor::requires_grad).collect();
            drop((sample.function)(&leaves).square().sum().backward());
        }
    }
    MET.take().expect("set above")
}

fn compare(name: &str, exact: bool, inputs: &[Vec<f32>], ours: &[f32], theirs: &[f32]) {
    assert_eq!((ours.len(), theirs.len()), (COUNT, COUNT));
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        if same {
            continue;
        }
        let at: Vec<f32> = inputs.iter().map(|x| x[i]).collect();
        let scale = at.iter().fold(1.0_f32, |product, x| product * x.abs().max(1.0)).max(b.abs());
        let near = !exact && (a - b).abs() <= BOUND * scale;
        assert!(near, "{name} of {at:?}: {a} on registers, {b} in C");
    }
}

#[test]
fn every_formula_of_an_operation_is_the_same_in_c() {
    let met = formulas();
    let function = |(k, met): (usize, &Met)| {
        let Program { constants, inputs, outputs, .. } = met.program.clone();
        let name = format!("f{k}");
        let constants = constants.into_iter().map(|x| x as f32).collect();
        CFunction { text: met.program.function(&name), name, constants, inputs, outputs }
    };
    let functions: Vec<CFunction> = met.values().enumerate().map(function).collect();
    assert!(functions.iter().any(|f| f.inputs == 1) && functions.iter().any(|f| f.outputs == 2));
    let Some(compiled) = Compiled::new(C_FLOAT, functions) else { return };
    let columns: Vec<Vec<f32>> = (0..3).map(|k| numbers(COUNT, k)).collect();
    for (k, (name, Met { program, run })) in met.iter().enumerate() {
        let inputs = &columns[..program.inputs];
        let tensors: Vec<Tensor> = inputs.iter().map(|x| Tensor::from_slice(x, [COUNT])).collect();
        let exact = !TRANSCENDENTAL.iter().any(|function| program.body.contains(function));
        for (ours, theirs) in run(&tensors).iter().zip(compiled.run(k, inputs)) {
            compare(name, exact, inputs, ours.as_slice(), &theirs);
        }
    }
}

#[test]
fn constants_are_parameters_and_a_trace_within_a_trace_is_its_own() {
    let text = |lr: f64| trace(2, |x| vec![x[0].lerp(x[1], Real::of(lr))]);
    let (one, other) = (text(0.1), text(0.2));
    assert_eq!((one.body == other.body, &one.constants), (true, &vec![0.1]));
    let outer = trace(1, |x| {
        assert_eq!(text(0.1), one);
        vec![x[0] + x[0]]
    });
    let lines: Vec<&str> = outer.body.lines().map(str::trim).collect();
    assert_eq!(lines, ["const real v0 = x[0];", "const real v1 = v0 + v0;", "y[0] = v1;"]);
}
