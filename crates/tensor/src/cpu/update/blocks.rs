//! Stretches of memory that a task works on, one after another, in the type that steps are computed in.

use std::cell::RefCell;

use super::state::Slot;
use super::trained::Trained;
use super::{MAX_SLOTS, Run, STATE_BLOCK};
use crate::cpu::parallel::Shared;
use crate::real::Stored;

/// Elements that are converted, or changed around a rule, at a time: all their slots fit the first-level
/// cache.
pub(super) const CONVERTED: usize = 4 * STATE_BLOCK;

/// Neighbouring elements: what `len` elements from each pointer on are, is this task's alone until the
/// next block is asked for.
#[derive(Clone, Copy)]
pub(super) struct Block<T> {
    /// The first element's position in the arenas of parameters.
    pub at: usize,
    pub params: *mut T,
    /// The parameters again where there are no gradients.
    pub grads: *const T,
    pub state: [*mut T; MAX_SLOTS],
    pub len: usize,
}

impl<T> Block<T> {
    /// The `len` elements from the `from`-th on.
    pub fn part(self, from: usize, len: usize) -> Self {
        Self {
            at: self.at + from,
            params: self.params.wrapping_add(from),
            grads: self.grads.wrapping_add(from),
            state: self.state.map(|slot| slot.wrapping_add(from)),
            len,
        }
    }
}

/// Hands out blocks. What was written to a block is kept when the next is asked for.
pub(super) trait Blocks<T> {
    fn next(&mut self) -> Option<Block<T>>;
}

/// One stretch, where it lies.
pub(super) struct One<T>(Option<Block<T>>);

impl<T: Stored> One<T> {
    pub fn new<const S: usize>(params: &mut [T], grads: &[T], state: [&mut [T]; S]) -> Self {
        let len = params.len();
        let fit = grads.len() == len && state.iter().all(|s| s.len() == len) && S <= MAX_SLOTS;
        assert!(fit, "update: lengths differ");
        let mut pointers = [std::ptr::null_mut(); MAX_SLOTS];
        pointers.iter_mut().zip(state).for_each(|(to, slot)| *to = slot.as_mut_ptr());
        let (params, grads) = (params.as_mut_ptr(), grads.as_ptr());
        Self(Some(Block { at: 0, params, grads, state: pointers, len }))
    }
}

impl<T> Blocks<T> for One<T> {
    fn next(&mut self) -> Option<Block<T>> {
        self.0.take()
    }
}

/// What all tasks of a walk share.
pub(super) struct Arenas<'a, P: Trained> {
    pub params: Shared<P>,
    pub grads: Option<Shared<P::Acc>>,
    pub slots: &'a [Slot],
    /// What parameters are taken from, and kept in, beside where they are stored.
    pub master: Option<Slot>,
    /// Whether parameters are written.
    pub writes: bool,
    pub seeds: Option<[u32; 2]>,
}

impl<P: Trained> Arenas<'_, P> {
    /// Calls `work` with the blocks of a run: all of it where the numbers lie, if that is what steps are
    /// computed in, else copies of some blocks of state at a time.
    ///
    /// # Safety
    /// The run lies within the arenas, begins with a block of state, and no other task touches it.
    pub unsafe fn run(
        &self,
        run: Run,
        direct: bool,
        work: &mut dyn FnMut(&mut dyn Blocks<P::Acc>),
    ) {
        if direct {
            // SAFETY: the caller's promise.
            work(&mut One(Some(unsafe { self.in_place(run) })));
        } else {
            SCRATCH.with_borrow_mut(|scratch| {
                work(&mut Converted { arenas: self, run, done: 0, open: 0, scratch });
            });
        }
    }

    /// A run where it lies.
    ///
    /// # Safety
    /// The run lies within the arenas, which hold `P::Acc`.
    unsafe fn in_place(&self, run: Run) -> Block<P::Acc> {
        let mut state = [std::ptr::null_mut(); MAX_SLOTS];
        // SAFETY: the caller's promise.
        unsafe {
            for (to, slot) in state.iter_mut().zip(self.slots) {
                *to = slot.numbers::<P::Acc>(run.state, run.len).as_mut_ptr();
            }
            let params = P::direct(self.params.slice(run.param..run.param + run.len));
            let params = params.expect("numbers of the type of the step").as_mut_ptr();
            let grads = self.grads.map_or(params, |grads| grads.at(run.param));
            Block { at: run.param, params, grads, state, len: run.len }
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

/// Copies of a run in single precision, some blocks of state at a time.
struct Converted<'a, P: Trained> {
    arenas: &'a Arenas<'a, P>,
    run: Run,
    /// Elements of the run that were handed out.
    done: usize,
    /// How many of them are still to be kept.
    open: usize,
    scratch: &'a mut Scratch,
}

impl<P: Trained> Converted<'_, P> {
    /// Stores the open block.
    fn keep(&mut self) {
        let len = std::mem::take(&mut self.open);
        if len == 0 {
            return;
        }
        let (at, param) = (self.run.state + self.done - len, self.run.param + self.done - len);
        let Arenas { params, slots, master, writes, seeds, .. } = self.arenas;
        let [values, copies @ ..] = &mut *self.scratch;
        // SAFETY: the promise of `Arenas::run`; blocks are a whole number of blocks of state.
        unsafe {
            let stored = params.slice(param..param + len);
            if *writes && P::direct(&mut []).is_none() {
                P::store(P::acc(&mut values[..len]), stored, *seeds, param);
                if let Some(master) = master {
                    master.store(at, &values[..len], None);
                }
            }
            for (k, (slot, copy)) in slots.iter().zip(copies).enumerate() {
                let seeds = seeds.map(|[a, b]| [a ^ (k as u32 + 1), b]);
                slot.store(at, &copy[..len], seeds);
            }
        }
    }
}

impl<P: Trained> Blocks<P::Acc> for Converted<'_, P> {
    fn next(&mut self) -> Option<Block<P::Acc>> {
        self.keep();
        let len = CONVERTED.min(self.run.len - self.done);
        if len == 0 {
            return None;
        }
        let (at, param) = (self.run.state + self.done, self.run.param + self.done);
        let Arenas { params, grads, slots, master, .. } = self.arenas;
        let [values, copies @ ..] = &mut *self.scratch;
        let mut state = [std::ptr::null_mut(); MAX_SLOTS];
        // SAFETY: as in `keep`.
        let block = unsafe {
            for ((slot, copy), to) in slots.iter().zip(copies).zip(&mut state) {
                slot.load(at, &mut copy[..len]);
                *to = P::acc(&mut copy[..len]).as_mut_ptr();
            }
            let stored = params.slice(param..param + len);
            let params = if let Some(params) = P::direct(stored) {
                params.as_mut_ptr()
            } else {
                match master {
                    Some(master) => master.load(at, &mut values[..len]),
                    None => P::load(params.slice(param..param + len), P::acc(&mut values[..len])),
                }
                P::acc(&mut values[..len]).as_mut_ptr()
            };
            let grads = grads.map_or(params, |grads| grads.at(param));
            Block { at: param, params, grads, state, len }
        };
        self.done += len;
        self.open = len;
        Some(block)
    }
}
