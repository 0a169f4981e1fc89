//! A step over parameters, gradients and state in one pass, from the traced formula of an update rule.
//!
//! The text is compiled so that every operation is IEEE's, and formulas say where a product is fused into a sum: from the
//! same gradients, elementwise rules leave the cores' bits.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::elementwise::c_type;
use super::{Args, Gpu, Kernel};
use crate::dtype::DType;
use crate::kernels::update::{Memory, Reduce, Run, Runs, StateKind, Update};
use crate::profile::timed;
use crate::random::Key;
use crate::real::{Program, Traced, trace};
use crate::tensor::Tensor;

const BODY: &str = include_str!("kernels/update.cu");
/// Elements that a thread takes at a time, and a block.
const EACH: usize = 4;
const BLOCK: usize = 256 * EACH;
/// Times that a block of a sum does so.
const TURNS: usize = 16;

/// Where everything lies, and how it is stored.
struct Places {
    /// Parameters, gradients (0: none), master copies (0: none), and slots.
    addresses: Vec<u64>,
    param: DType,
    slots: Vec<DType>,
    master: bool,
    grads: bool,
}

/// The GPU that serves a step over this memory: none where it lies elsewhere, or where something has no kernel.
pub(crate) fn serving(memory: &Memory<'_>) -> Option<&'static Gpu> {
    let gpu = memory.gpu()?;
    if memory.is_wrapped() {
        drop(gpu.falls_back("update within wrappers"));
        return None;
    }
    if memory.state().iter().any(|slot| matches!(slot.kind(), StateKind::Block8 { .. })) {
        drop(gpu.falls_back("update of 8-bit state"));
        return None;
    }
    Some(gpu)
}

fn places(gpu: &Gpu, memory: &mut Memory<'_>, slots: usize) -> Places {
    let masters = memory.state().iter().filter(|slot| slot.kind() == StateKind::Master).count();
    let all = memory.state().len();
    assert!(all == slots + masters, "update: {slots} slots of state, got {all}");
    let (param, params, grads) = memory.addresses(gpu);
    let mut addresses = vec![params, grads.unwrap_or(0), 0];
    let mut stored = Vec::new();
    for slot in memory.state_mut() {
        let address = slot.made_on(gpu);
        match slot.kind() {
            StateKind::Number(dtype) => {
                addresses.push(address);
                stored.push(dtype);
            }
            _ => addresses[2] = address,
        }
    }
    addresses.resize(3 + crate::kernels::update::MAX_SLOTS, 0);
    Places { addresses, param, slots: stored, master: masters > 0, grads: grads.is_some() }
}

impl Places {
    /// The type that steps are computed in.
    fn real(&self) -> DType {
        self.param.accumulator()
    }

    fn text(&self, program: &Program, writes: bool, rounds: bool, sums: usize) -> String {
        let mut text = String::new();
        let flag = |text: &mut String, name: &str, value: usize| {
            let _ = writeln!(text, "#define {name} {value}");
        };
        let _ = writeln!(
            text,
            "typedef {} Param;\ntypedef {} real;",
            c_type(self.param),
            c_type(self.real())
        );
        flag(&mut text, "SLOTS", self.slots.len());
        flag(&mut text, "SUMS", sums);
        flag(&mut text, "WRITES", writes.into());
        flag(&mut text, "MASTER", self.master.into());
        flag(&mut text, "GRADS", self.grads.into());
        flag(&mut text, "ROUNDS", rounds.into());
        flag(&mut text, "TURNS", if sums > 0 { TURNS } else { 1 });
        text.push_str("#define EACH_SLOT(DO)");
        for (k, dtype) in self.slots.iter().enumerate() {
            let _ = write!(text, " DO({k}, {})", c_type(*dtype));
        }
        text.push('\n');
        let _ = writeln!(
            text,
            "DEV void formula(const real* x, real* y, const real* c) {{\n{}}}",
            program.body
        );
        text + BODY
    }
}

/// Runs that share a text: each with its number, and the constants of its formula.
type Alike = Vec<(usize, Vec<f64>)>;

/// As the cores' `update` and `update_each`: `of` is the formula of each run.
pub(crate) fn update<'u, const S: usize, U: Update<S> + 'u>(
    gpu: &Gpu,
    runs: &Runs,
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    of: &dyn Fn(usize) -> &'u U,
) {
    let places = places(gpu, memory, S);
    let program = |update: &U| {
        trace(2 + S, |x: &[Traced]| {
            let (p, s) = update.formula::<Traced>()(x[0], x[1], std::array::from_fn(|k| x[2 + k]));
            std::iter::once(p).chain(s).collect()
        })
    };
    let moved =
        places.slots.iter().map(|slot| 2 * slot.size()).sum::<usize>() + 3 * places.param.size();
    let _timer = timed("update", 0.0, (runs.total() * moved) as f64);
    let mut groups: BTreeMap<String, Alike> = BTreeMap::new();
    // Of one formula for all, the text is made once.
    let mut last: Option<(*const U, Program)> = None;
    for number in (0..runs.as_slice().len()).filter(|&number| runs.as_slice()[number].len > 0) {
        let update = of(number);
        let traced = match &last {
            Some((which, program)) if std::ptr::eq(*which, update) => program.clone(),
            _ => program(update),
        };
        last = Some((std::ptr::from_ref(update), traced.clone()));
        let text = places.text(&traced, U::WRITES_PARAMS, rounding.is_some(), 0);
        groups.entry(text).or_default().push((number, traced.constants));
    }
    for (text, alike) in groups {
        launch(gpu, &places, &text, runs.as_slice(), &alike, rounding, None);
    }
}

/// As the cores' `reduce_each`: the sums of each run.
pub(crate) fn reduce<const S: usize, const K: usize, G: Reduce<S, K>>(
    gpu: &Gpu,
    runs: &Runs,
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    reduce: &G,
) -> Vec<[f64; K]> {
    let places = places(gpu, memory, S);
    let program = trace(2 + S, |x: &[Traced]| {
        let (s, sums) = reduce.formula::<Traced>()(x[0], x[1], std::array::from_fn(|k| x[2 + k]));
        s.into_iter().chain(sums).collect()
    });
    let _timer = timed("update", 0.0, (runs.total() * 2 * places.param.size()) as f64);
    let all = runs.as_slice();
    let mut sums = vec![[0.0; K]; all.len()];
    let text = places.text(&program, false, rounding.is_some(), K);
    let alike: Alike = (0..all.len())
        .filter(|&n| all[n].len > 0)
        .map(|n| (n, program.constants.clone()))
        .collect();
    let counts: Vec<usize> =
        alike.iter().map(|(n, _)| all[*n].len.div_ceil(BLOCK * TURNS)).collect();
    if alike.is_empty() {
        return sums;
    }
    let mut partial = Tensor::uninit([counts.iter().sum(), K].into(), DType::F64);
    let to = partial.made_on(gpu);
    launch(gpu, &places, &text, all, &alike, rounding, Some(to));
    let partial = partial.to_vec::<f64>();
    let mut blocks = partial.chunks(K);
    for ((number, _), count) in alike.iter().zip(counts) {
        for block in blocks.by_ref().take(count) {
            sums[*number].iter_mut().zip(block).for_each(|(sum, more)| *sum += more);
        }
    }
    sums
}

fn launch(
    gpu: &Gpu,
    places: &Places,
    text: &str,
    runs: &[Run],
    alike: &Alike,
    rounding: Option<Key>,
    partial: Option<u64>,
) {
    let per_block = if partial.is_some() { BLOCK * TURNS } else { BLOCK };
    let mut table: Vec<i64> = Vec::with_capacity(4 * alike.len());
    let (mut blocks, mut aligned) = (0, true);
    for (number, _) in alike {
        let Run { param, state, len } = runs[*number];
        table.extend([blocks, param, state, len].map(|n| n as i64));
        blocks += len.div_ceil(per_block);
        aligned &= param.is_multiple_of(EACH) && state.is_multiple_of(EACH);
    }
    // Constants of one formula for all are there once.
    let same = alike.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let constants: Vec<f64> = alike
        .iter()
        .take(if same { 1 } else { alike.len() })
        .flat_map(|(_, c)| c.iter().copied())
        .collect();
    let width = alike.first().map_or(0, |(_, c)| c.len());
    let table = Tensor::from_slice(&table, [table.len()]);
    let real = places.real();
    let constants = if constants.is_empty() { vec![0.0] } else { constants };
    let constants = match real {
        DType::F64 => Tensor::from_slice(&constants, [constants.len()]),
        _ => Tensor::from_slice(
            &constants.iter().map(|x| *x as f32).collect::<Vec<_>>(),
            [constants.len()],
        ),
    };
    let [a, b] = rounding.map_or([0, 0], Key::seeds);
    let args = Args::new()
        .words(&places.addresses)
        .at(table.on(gpu))
        .long(alike.len())
        .at(constants.on(gpu));
    let args =
        args.long(if same { 0 } else { width }).int(aligned.into()).int(a as usize).int(b as usize);
    let mut args = args.at(partial.unwrap_or(0));
    gpu.run(
        Kernel { name: "update", text, function: "update", exact: true },
        [blocks, 1, 1],
        256,
        0,
        &mut args,
    );
}
