//! Every elementwise rule as C, compiled by the system's compiler, against vector registers: the same
//! bits.

use rappel_config::{Family, Kind};
use rappel_schedule::Horizon;
use rappel_tensor::{C_FLOAT, Program};
use rappel_testkit::c::{CFunction, Compiled, numbers};
use toml::{Table, Value};

use crate::OPTIMIZERS;
use crate::context::StepContext;
use crate::kernels::{GradTransform, Stepper};

/// Places that each rule is compared at, as it comes and with an option changed.
const COUNT: usize = 1_000_000;
const FEWER: usize = 20_000;
const HORIZON: Horizon = Horizon { steps: 1000 };

/// Each optimizer as it comes, and with each option away from its default where that can be.
fn variants() -> Vec<(String, Box<dyn Stepper>)> {
    let mut all = Vec::new();
    for info in OPTIMIZERS.infos() {
        let mut sections = vec![(info.name.to_owned(), Table::new())];
        for field in &info.fields {
            let value = match field.kind {
                Kind::Bool => Value::from(true),
                Kind::Scheduled { .. } => Value::from(0.25),
                _ => continue,
            };
            let section = Table::from_iter([(field.name.to_owned(), value)]);
            sections.push((format!("{} with {}", info.name, field.name), section));
        }
        for (what, mut section) in sections {
            section.insert("name".to_owned(), Value::from(info.name));
            let (entry, options) = OPTIMIZERS.resolve("optimizer", &section).unwrap();
            let stepper = (entry.build.stepper)(&options, HORIZON);
            all.extend(stepper.ok().map(|stepper| (what, stepper)));
        }
    }
    all
}

/// A step of a rule: the arrays before and after, and its formula.
struct Stepped {
    before: Vec<Vec<f32>>,
    after: Vec<Vec<f32>>,
    program: Program,
}

fn context(rule: &dyn Stepper, step: u64) -> StepContext {
    let mut t = StepContext { count: step + 1, ..StepContext::new(step, 0.5) };
    for (to, (_, first)) in t.numbers.iter_mut().zip(rule.numbers()) {
        *to = *first;
    }
    t
}

fn step(what: &str, rule: &dyn Stepper, columns: &[Vec<f32>]) -> Option<Stepped> {
    let grads = GradTransform { scale: 0.5, limit: Some(2.0) };
    let signed = rule.slots().into_iter().map(|slot| slot.signed);
    let signed = [true, true].into_iter().chain(signed);
    let before: Vec<Vec<f32>> = columns
        .iter()
        .zip(signed)
        .map(|(x, signed)| x.iter().map(|x| if signed { *x } else { x.abs() }).collect())
        .collect();
    let mut after = before.clone();
    let program = rule.traced(context(rule, 50), grads, &mut after)?;
    let mut few = vec![vec![0.5]; before.len()];
    let later = rule.traced(context(rule, 400), grads, &mut few)?;
    assert_eq!(program.body, later.body, "{what}: one text serves all steps");
    Some(Stepped { before, after, program })
}

fn compare(what: &str, Stepped { before, after, .. }: &Stepped, found: &[Vec<f32>]) {
    // The parameter, then the state: the gradient has no result.
    let ours: Vec<&Vec<f32>> = std::iter::once(&after[0]).chain(&after[2..]).collect();
    assert_eq!(ours.len(), found.len());
    for (slot, (ours, theirs)) in ours.into_iter().zip(found).enumerate() {
        let differs =
            |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan());
        if let Some(i) = ours.iter().zip(theirs).position(differs) {
            let at: Vec<f32> = before.iter().map(|x| x[i]).collect();
            let (a, b) = (ours[i], theirs[i]);
            panic!("{what}, result {slot} of {at:?}: {a} on registers, {b} in C");
        }
    }
}

#[test]
fn every_elementwise_rule_is_the_same_bits_in_c() {
    let columns: Vec<Vec<f32>> = (0..10).map(|k| numbers(COUNT, k)).collect();
    let [few, fewer] = [1, FEWER]
        .map(|count| -> Vec<Vec<f32>> { columns.iter().map(|x| x[..count].to_vec()).collect() });
    let rules = variants();
    let (mut functions, mut which) = (Vec::new(), Vec::new());
    for (what, rule) in &rules {
        let Some(Stepped { program, .. }) = step(what, &**rule, &few) else { continue };
        let name = format!("f{}", functions.len());
        let constants = program.constants.iter().map(|x| *x as f32).collect();
        let (text, inputs, outputs) = (program.function(&name), program.inputs, program.outputs);
        functions.push(CFunction { text, name, constants, inputs, outputs });
        which.push((what, rule));
    }
    for elementwise in ["adamw", "sgd", "lion", "sparse_adam"] {
        assert!(which.iter().any(|(what, _)| *what == elementwise), "{elementwise}");
    }
    let Some(compiled) = Compiled::new(C_FLOAT, functions) else { return };
    for (k, (what, rule)) in which.into_iter().enumerate() {
        let columns = if what.contains(' ') { &fewer } else { &columns };
        let stepped = step(what, &**rule, columns).expect("an elementwise rule, as before");
        compare(what, &stepped, &compiled.run(k, &stepped.before));
    }
}
