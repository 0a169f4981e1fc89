//! One walk over parameters, gradients and optimizer state, in place.
//!
//! A step of an elementwise optimizer is bound by memory, so everything that it does to an element
//! happens while that element is in a register or the first-level cache: each byte is read once and
//! written once. [`walk`] cuts the arenas into pieces and spreads them over threads; what is stored
//! as bfloat16 or eight-bit codes passes through buffers in single precision. [`apply`] and
//! [`gather`] are what a piece is worked on with.

mod formula;
mod quantile;
mod rows;
mod runs;
mod state;

use std::cell::RefCell;

use half::bf16;

use super::parallel::{Shared, for_pieces};
use crate::dtype::Element;
use crate::random::Key;
use crate::real::{Real, Stored};
pub use formula::{Gather, Update, apply, gather};
pub use quantile::BLOCK as STATE_BLOCK;
pub use rows::nonzero_rows;
pub use runs::{Run, Runs};
use state::{Slot, narrow, widen};
pub use state::{StateArena, StateKind};

/// Elements in one task: enough to pay for handing it to a thread.
const PIECE: usize = 1 << 15;
/// Elements that are converted at a time: all their slots fit the first-level cache.
const CONVERTED: usize = 4 * STATE_BLOCK;
/// The most slots of state a walk takes.
pub const MAX_SLOTS: usize = 8;

/// A type that parameters are stored as. Steps are computed in `Acc`, the type of gradients.
pub trait Trained: Element {
    /// Single precision for bfloat16, else the type itself.
    type Acc: Stored + Real + Trained<Acc = Self::Acc>;
    /// The numbers themselves, where they are of the type that steps are computed in.
    fn direct(params: &mut [Self]) -> Option<&mut [Self::Acc]>;
    /// Reads parameters.
    fn load(from: &[Self], to: &mut [Self::Acc]);
    /// Writes parameters; with `seeds`, rounded to either neighbour at random.
    fn store(from: &[Self::Acc], to: &mut [Self], seeds: Option<[u32; 2]>, at: usize);
    /// Copies in single precision as numbers that steps are computed in.
    ///
    /// # Panics
    /// In double precision, whose state is never stored in less.
    fn acc(copies: &mut [f32]) -> &mut [Self::Acc];
}

macro_rules! trained {
    ($t:ty, $acc:ty, $direct:expr, $load:expr, $store:expr, $acc_of:expr) => {
        impl Trained for $t {
            type Acc = $acc;
            fn direct(params: &mut [Self]) -> Option<&mut [$acc]> {
                $direct(params)
            }
            fn load(from: &[Self], to: &mut [$acc]) {
                $load(from, to);
            }
            fn store(from: &[$acc], to: &mut [Self], seeds: Option<[u32; 2]>, at: usize) {
                $store(from, to, seeds, at);
            }
            fn acc(copies: &mut [f32]) -> &mut [$acc] {
                $acc_of(copies)
            }
        }
    };
}

trained!(f32, f32, Some, copy, store_same, |copies| copies);
trained!(f64, f64, Some, copy, store_same, |_| panic!(
    "state in less precision is for parameters in single precision or less"
));
trained!(bf16, f32, |_| None, widen, narrow, |copies| copies);

/// Numbers that are stored as steps are computed in.
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}

/// The same back; nothing is rounded.
fn store_same<T: Copy>(from: &[T], to: &mut [T], _: Option<[u32; 2]>, _: usize) {
    to.copy_from_slice(from);
}

/// What a task works on: neighbouring elements.
pub struct Piece<'a, 's, T> {
    /// Where they lie.
    pub run: Run,
    /// Parameters.
    pub params: &'a mut [T],
    /// Their gradients; nothing in a walk without.
    pub grads: &'a [T],
    /// Their state, slot by slot.
    pub state: &'a mut [&'s mut [T]],
}

/// Calls `work` on all elements of `runs`, piece by piece, on all threads, and keeps what it writes
/// to parameters and state. Pieces are disjoint and do not depend on the number of threads. With
/// `rounding`, what is stored in less precision rounds to either neighbour at random. Without
/// gradients (`grads` is empty), pieces have none.
/// Where a slot is a [`Master`](StateKind::Master) copy of bfloat16 parameters, `work` is given that copy as
/// parameters, and it is no slot among the others.
///
/// # Panics
/// Where the runs reach beyond an arena; where state in less precision belongs to parameters in
/// double precision.
pub fn walk<P: Trained>(
    runs: &Runs,
    params: &mut [P],
    grads: &[P::Acc],
    state: &mut [StateArena],
    rounding: Option<Key>,
    work: &(dyn Fn(Piece<'_, '_, P::Acc>) + Sync),
) {
    let (param_end, state_end) = runs.ends();
    let held = |len: usize| param_end <= len;
    let fits = held(params.len()) && (grads.is_empty() || held(grads.len()));
    assert!(fits, "update: runs leave the arena");
    assert!(state.len() <= MAX_SLOTS, "update: {} slots of state", state.len());
    let own = StateKind::Number(P::Acc::DTYPE);
    let direct = state.iter().all(|slot| slot.kind() == own) && P::direct(&mut []).is_some();
    let mut slots: Vec<Slot> = state.iter_mut().map(StateArena::shared).collect();
    assert!(slots.iter().all(|slot| state_end <= slot.len), "update: runs leave the state");
    let master = slots.extract_if(.., |slot| slot.kind == StateKind::Master).last();
    let walk = Walk {
        params: Shared::new(params),
        grads: (!grads.is_empty()).then(|| Shared::from_ptr(grads.as_ptr().cast_mut())),
        slots: &slots,
        master,
        seeds: rounding.map(Key::seeds),
        work,
    };
    for_pieces(runs.total(), PIECE, |range| {
        for run in runs.within(range, STATE_BLOCK).filter(|run| run.len > 0) {
            // SAFETY: runs lie within the arenas, and apart (`Runs::new`), as do pieces of them.
            unsafe { if direct { walk.in_place(run) } else { walk.converted(run) } }
        }
    });
}

/// What all tasks of a walk share.
struct Walk<'a, P: Trained> {
    params: Shared<P>,
    grads: Option<Shared<P::Acc>>,
    slots: &'a [Slot],
    /// What parameters are taken from, and kept in, beside where they are stored.
    master: Option<Slot>,
    seeds: Option<[u32; 2]>,
    work: &'a (dyn Fn(Piece<'_, '_, P::Acc>) + Sync),
}

impl<P: Trained> Walk<'_, P> {
    /// The gradients of a run, if there are any.
    ///
    /// # Safety
    /// The run lies within the arenas, and no other task touches it.
    unsafe fn gradients(&self, run: Run) -> &[P::Acc] {
        // SAFETY: the caller's promise; gradients, where there are any, reach as far as parameters.
        self.grads.as_ref().map_or(&[], |all| unsafe { all.slice(run.param..run.param + run.len) })
    }

    /// Works where the numbers lie.
    ///
    /// # Safety
    /// The run lies within the arenas, which hold `P::Acc`, and no other task touches it.
    unsafe fn in_place(&self, run: Run) {
        let mut state: [&mut [P::Acc]; MAX_SLOTS] = Default::default();
        // SAFETY: the caller's promise.
        unsafe {
            for (to, slot) in state.iter_mut().zip(self.slots) {
                *to = slot.numbers(run.state, run.len);
            }
            let params = P::direct(self.params.slice(run.param..run.param + run.len));
            let params = params.expect("numbers of the type of the step");
            let grads = self.gradients(run);
            (self.work)(Piece { run, params, grads, state: &mut state[..self.slots.len()] });
        }
    }

    /// Works on copies in single precision, some blocks at a time.
    ///
    /// # Safety
    /// As [`in_place`](Walk::in_place), whatever the arenas hold.
    unsafe fn converted(&self, run: Run) {
        SCRATCH.with_borrow_mut(|scratch| {
            for start in (0..run.len).step_by(CONVERTED) {
                let len = CONVERTED.min(run.len - start);
                let part = Run { param: run.param + start, state: run.state + start, len };
                // SAFETY: the caller's promise; `start` is a whole number of blocks.
                unsafe { self.blocks(part, scratch) };
            }
        });
    }

    /// Works on copies of some blocks.
    ///
    /// # Safety
    /// As [`in_place`](Walk::in_place), whatever the arenas hold; the run begins with a block.
    unsafe fn blocks(&self, run: Run, scratch: &mut Scratch) {
        let Run { param, state: at, len } = run;
        let [values, copies @ ..] = scratch;
        // SAFETY: the caller's promise.
        unsafe {
            for (slot, copy) in self.slots.iter().zip(copies.iter_mut()) {
                slot.load(at, &mut copy[..len]);
            }
            let mut state: [&mut [P::Acc]; MAX_SLOTS] =
                copies.each_mut().map(|copy| P::acc(&mut copy[..len]));
            let state = &mut state[..self.slots.len()];
            let (grads, stored) = (self.gradients(run), self.params.slice(param..param + len));
            if let Some(params) = P::direct(stored) {
                (self.work)(Piece { run, params, grads, state });
            } else {
                match &self.master {
                    Some(master) => master.load(at, &mut values[..len]),
                    None => P::load(stored, P::acc(&mut values[..len])),
                }
                let params = P::acc(&mut values[..len]);
                (self.work)(Piece { run, params, grads, state });
                P::store(P::acc(&mut values[..len]), stored, self.seeds, param);
                if let Some(master) = &self.master {
                    master.store(at, &values[..len], None);
                }
            }
            for (k, (slot, copy)) in self.slots.iter().zip(copies).enumerate() {
                let seeds = self.seeds.map(|[a, b]| [a ^ (k as u32 + 1), b]);
                slot.store(at, &copy[..len], seeds);
            }
        }
    }
}

/// Parameters and slots in single precision.
type Scratch = [[f32; CONVERTED]; 1 + MAX_SLOTS];

thread_local! {
    /// A task's copies. Made once: cleared for each task, they would cost more than what they serve.
    static SCRATCH: RefCell<Box<Scratch>> =
        RefCell::new(Box::new([[0.0; CONVERTED]; 1 + MAX_SLOTS]));
}

#[cfg(test)]
mod tests;
