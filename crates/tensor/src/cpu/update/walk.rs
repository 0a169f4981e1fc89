//! The walks: one formula for all elements, or one for each run; sums over all, or over each run.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::blocks::{Arenas, Blocks};
use super::formula::{apply_blocks, reduce_blocks};
use super::memory::{Memory, with_typed};
use super::rows::Touched;
use super::state::Slot;
use super::trained::Trained;
use super::wrap::Wrapped;
use super::{MAX_SLOTS, PIECE, Reduce, Run, Runs, STATE_BLOCK, StateArena, StateKind, Update};
use crate::cpu::parallel::{Shared, for_pieces};
use crate::dtype::{DType, Element};
use crate::random::Key;
use crate::tensor::Tensor;

/// Updates all elements of `runs`, on all threads. With `rounding`, what is stored in less precision
/// rounds to either neighbour at random.
///
/// Pieces of work are disjoint and do not depend on the number of threads. Where a slot is a
/// [`Master`](StateKind::Master) copy of bfloat16 parameters, the formula sees that copy as parameters, and it
/// is not a slot among the others.
///
/// # Panics
/// Where the runs reach beyond an arena, or the slots are not `S`; where state in less precision belongs
/// to parameters in double precision.
pub fn update<const S: usize, U: Update<S>>(
    runs: &Runs,
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    update: &U,
) {
    each::<S, U>(runs, memory, rounding, &|_| update);
}

/// As [`update`], with a formula for each run.
///
/// # Panics
/// As [`update`], and where there are more runs than formulas.
pub fn update_each<const S: usize, U: Update<S>>(
    runs: &Runs,
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    updates: &[U],
) {
    each::<S, U>(runs, memory, rounding, &|run| &updates[run]);
}

fn each<'u, const S: usize, U: Update<S> + 'u>(
    runs: &Runs,
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    of: &(dyn Fn(usize) -> &'u U + Sync),
) {
    let work = Work {
        single: &|run, _, blocks| apply_blocks::<S, f32, U>(of(run), blocks),
        double: &|run, _, blocks| apply_blocks::<S, f64, U>(of(run), blocks),
    };
    walk(runs, memory, (S, U::WRITES_PARAMS, rounding), work);
}

/// As [`update`], of those rows of parameters whose gradient is not all zero; a row of each run has so
/// many `widths`.
///
/// # Panics
/// As [`update`].
pub fn update_rows<const S: usize, U: Update<S>>(
    runs: &[Run],
    widths: &[usize],
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    update: &U,
) {
    let blocks = memory.state.iter().any(|s| matches!(s.kind(), StateKind::Block8 { .. }));
    let grain = if blocks { STATE_BLOCK } else { 1 };
    // What stands around a rule changes all parameters.
    let grain = if memory.wrapping.is_some() { None } else { Some(grain) };
    let wrapping = memory.wrapping;
    let touched = with_typed!(memory.source.typed(), (P, params, grads) => {
        Touched::find(runs, widths, grain, |run| {
            let range = run.param..run.param + run.len;
            let Some(wrapping) = wrapping else { return Cow::Borrowed(&grads[range]) };
            let mut param = vec![<P as Trained>::Acc::from_f64(0.0); run.len];
            P::load(&params[range.clone()], &mut param);
            let mut grad = grads[range].to_vec();
            P::wrap(wrapping).before(run.param, &mut param, &mut grad);
            Cow::Owned(grad)
        })
    });
    let work = Work {
        single: &|_, run, blocks| apply_blocks::<S, f32, U>(update, &mut touched.of(run, blocks)),
        double: &|_, run, blocks| apply_blocks::<S, f64, U>(update, &mut touched.of(run, blocks)),
    };
    walk(&touched.runs, memory, (S, true, rounding), work);
}

/// Updates the state of all elements of `runs`, and adds up over all of them. Sums are taken in pieces that
/// do not depend on the number of threads, in double precision between them.
///
/// # Panics
/// As [`update`].
pub fn reduce_all<const S: usize, const K: usize, G: Reduce<S, K>>(
    runs: &Runs,
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    reduce: &G,
) -> [f64; K] {
    total(&pieces(runs, memory, rounding, reduce))
}

/// As [`reduce_all`], with sums over each run.
///
/// # Panics
/// As [`update`].
pub fn reduce_each<const S: usize, const K: usize, G: Reduce<S, K>>(
    runs: &Runs,
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    reduce: &G,
) -> Vec<[f64; K]> {
    let mut of_run = vec![Vec::new(); runs.as_slice().len()];
    for (run, sums) in pieces(runs, memory, rounding, reduce) {
        of_run[run].push((run, sums));
    }
    of_run.iter().map(|sums| total(sums)).collect()
}

fn total<const K: usize>(sums: &[(usize, [f64; K])]) -> [f64; K] {
    sums.iter().fold([0.0; K], |all, (_, more)| std::array::from_fn(|k| all[k] + more[k]))
}

/// The sums of each piece with the number of its run, in order.
fn pieces<const S: usize, const K: usize, G: Reduce<S, K>>(
    runs: &Runs,
    memory: &mut Memory<'_>,
    rounding: Option<Key>,
    reduce: &G,
) -> Vec<(usize, [f64; K])> {
    let found = Mutex::new(BTreeMap::new());
    let keep = |run: usize, piece: Run, sums: Vec<[f64; K]>| {
        found.lock().unwrap_or_else(PoisonError::into_inner).insert((run, piece.param), sums);
    };
    let work = Work {
        single: &|run, piece, blocks| {
            keep(run, piece, reduce_blocks::<S, K, f32, G>(reduce, blocks));
        },
        double: &|run, piece, blocks| {
            keep(run, piece, reduce_blocks::<S, K, f64, G>(reduce, blocks));
        },
    };
    walk(runs, memory, (S, false, rounding), work);
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.into_iter().flat_map(|((run, _), sums)| sums.into_iter().map(move |s| (run, s))).collect()
}

/// What is done to the blocks of a piece: given the number of the run, the piece and its blocks.
#[derive(Clone, Copy)]
struct Work<'a> {
    single: OnBlocks<'a, f32>,
    double: OnBlocks<'a, f64>,
}

type OnBlocks<'a, T> = &'a (dyn Fn(usize, Run, &mut dyn Blocks<T>) + Sync);

/// Calls `work` on all elements of `runs`, piece by piece, on all threads, and keeps what it writes.
fn walk(
    runs: &Runs,
    memory: &mut Memory<'_>,
    (slots, writes, rounding): (usize, bool, Option<Key>),
    work: Work<'_>,
) {
    let Memory { source, state, wrapping } = memory;
    let masters = state.iter().filter(|slot| slot.kind() == StateKind::Master).count();
    assert!(state.len() == slots + masters, "update: {slots} slots of state, got {}", state.len());
    with_typed!(source.typed(), (P, params, grads) => {
        let work = <P as Trained>::Acc::of(work);
        let wrap = wrapping.map(P::wrap);
        let work = |run: usize, piece: Run, blocks: &mut dyn Blocks<<P as Trained>::Acc>| {
            match wrap {
                None => work(run, piece, blocks),
                Some(wrap) => work(run, piece, &mut Wrapped::new(wrap, blocks, writes)),
            }
        };
        walk_typed::<P>(runs, (params, grads, state), (writes, rounding), &work);
    });
}

/// Picks the work in its own type.
trait OfWork: Sized {
    fn of(work: Work<'_>) -> OnBlocks<'_, Self>;
}

impl OfWork for f32 {
    fn of(work: Work<'_>) -> OnBlocks<'_, Self> {
        work.single
    }
}

impl OfWork for f64 {
    fn of(work: Work<'_>) -> OnBlocks<'_, Self> {
        work.double
    }
}

/// Parameters, gradients and state.
type Views<'a, P> = (&'a mut [P], &'a [<P as Trained>::Acc], &'a mut [StateArena]);

fn walk_typed<P: Trained>(
    runs: &Runs,
    (params, grads, state): Views<'_, P>,
    (writes, rounding): (bool, Option<Key>),
    work: OnBlocks<'_, P::Acc>,
) {
    let (param_end, state_end) = runs.ends();
    let held = |len: usize| param_end <= len;
    let fits = held(params.len()) && (grads.is_empty() || held(grads.len()));
    assert!(fits, "update: runs leave the arena");
    assert!(state.len() <= MAX_SLOTS, "update: {} slots of state", state.len());
    let own = StateKind::Number(<P::Acc as Element>::DTYPE);
    let direct = state.iter().all(|slot| slot.kind() == own) && P::direct(&mut []).is_some();
    let mut slots: Vec<Slot> = state.iter_mut().map(StateArena::shared).collect();
    assert!(slots.iter().all(|slot| state_end <= slot.len), "update: runs leave the state");
    let master = slots.extract_if(.., |slot| slot.kind == StateKind::Master).last();
    let arenas = Arenas {
        params: Shared::new(params),
        grads: (!grads.is_empty()).then(|| Shared::from_ptr(grads.as_ptr().cast_mut())),
        slots: &slots,
        master,
        writes,
        seeds: rounding.map(Key::seeds),
    };
    for_pieces(runs.total(), PIECE, |range| {
        for (number, run) in runs.within(range, STATE_BLOCK).filter(|(_, run)| run.len > 0) {
            // SAFETY: runs lie within the arenas, and apart (`Runs::new`), as do pieces of them.
            unsafe { arenas.run(run, direct, &mut |blocks| work(number, run, blocks)) };
        }
    });
}

/// See [`Memory::put`].
pub(super) fn put(memory: &mut Memory<'_>, run: Run, value: &Tensor, rounding: Option<Key>) {
    fn filled<T: crate::real::Stored>(start: usize, values: &[T], blocks: &mut dyn Blocks<T>) {
        while let Some(block) = blocks.next() {
            let from = &values[block.at - start..block.at - start + block.len];
            // SAFETY: the block is this task's alone (`Block`).
            let params = unsafe { std::slice::from_raw_parts_mut(block.params, block.len) };
            params.copy_from_slice(from);
        }
    }
    let value = value.contiguous();
    let (single, double): (&[f32], &[f64]) = match value.dtype() {
        DType::F64 => (&[], value.as_slice()),
        _ => (value.as_slice(), &[]),
    };
    let slots = memory.state.iter().filter(|slot| slot.kind() != StateKind::Master).count();
    let work = Work {
        single: &|_, _, blocks| filled(run.param, single, blocks),
        double: &|_, _, blocks| filled(run.param, double, blocks),
    };
    walk(&Runs::new(vec![run]), memory, (slots, true, rounding), work);
}
