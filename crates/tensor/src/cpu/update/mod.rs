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
    /// Single-precision numbers as `Acc`, which state of other precisions asks for.
    fn singles(acc: &mut [Self::Acc]) -> Option<&mut [f32]>;
}

macro_rules! trained {
    ($t:ty, $acc:ty, |$params:ident| $direct:expr, $load:expr, $store:expr, |$a:ident| $singles:expr) => {
        impl Trained for $t {
            type Acc = $acc;
            fn direct($params: &mut [Self]) -> Option<&mut [$acc]> {
                $direct
            }
            fn load(from: &[Self], to: &mut [$acc]) {
                $load(from, to);
            }
            fn store(from: &[$acc], to: &mut [Self], seeds: Option<[u32; 2]>, at: usize) {
                $store(from, to, seeds, at);
            }
            fn singles($a: &mut [$acc]) -> Option<&mut [f32]> {
                $singles
            }
        }
    };
}

/// Copies; nothing is rounded.
fn same<T: Copy>(from: &[T], to: &mut [T], _: Option<[u32; 2]>, _: usize) {
    to.copy_from_slice(from);
}
trained!(
    f32,
    f32,
    |p| Some(p),
    |from: &[f32], to: &mut [f32]| to.copy_from_slice(from),
    same,
    |a| Some(a)
);
trained!(
    f64,
    f64,
    |p| Some(p),
    |from: &[f64], to: &mut [f64]| to.copy_from_slice(from),
    same,
    |_a| None
);
trained!(bf16, f32, |_p| None, widen, narrow, |a| Some(a));

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
    let slots: Vec<Slot> = state.iter_mut().map(StateArena::shared).collect();
    assert!(slots.iter().all(|slot| state_end <= slot.len), "update: runs leave the state");
    let walk = Walk {
        params: Shared::new(params),
        grads: (!grads.is_empty()).then(|| Shared::from_ptr(grads.as_ptr().cast_mut())),
        slots: &slots,
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
        let zero = P::Acc::from_f64(0.0);
        let (mut p, mut s) = ([zero; CONVERTED], [[zero; CONVERTED]; MAX_SLOTS]);
        for start in (0..run.len).step_by(CONVERTED) {
            let len = CONVERTED.min(run.len - start);
            let part = Run { param: run.param + start, state: run.state + start, len };
            // SAFETY: the caller's promise; `start` is a whole number of blocks.
            unsafe {
                let stored = self.params.slice(part.param..part.param + len);
                let grads = self.gradients(part);
                P::load(stored, &mut p[..len]);
                for (slot, s) in self.slots.iter().zip(&mut s) {
                    slot.load(part.state, singles::<P>(&mut s[..len]));
                }
                let mut state: [&mut [P::Acc]; MAX_SLOTS] = s.each_mut().map(|s| &mut s[..len]);
                let state = &mut state[..self.slots.len()];
                (self.work)(Piece { run: part, params: &mut p[..len], grads, state });
                P::store(&p[..len], stored, self.seeds, part.param);
                for (k, (slot, s)) in self.slots.iter().zip(&mut s).enumerate() {
                    let seeds = self.seeds.map(|[a, b]| [a ^ (k as u32 + 1), b]);
                    slot.store(part.state, singles::<P>(&mut s[..len]), seeds);
                }
            }
        }
    }
}

fn singles<P: Trained>(acc: &mut [P::Acc]) -> &mut [f32] {
    P::singles(acc).expect("state in less precision is for parameters in single precision or less")
}

#[cfg(test)]
mod tests;
