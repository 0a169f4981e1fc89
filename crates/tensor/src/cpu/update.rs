//! One walk over parameters, gradients and optimizer state, in place.
//!
//! A step of an elementwise optimizer is bound by memory, so everything that it does to an element
//! happens while that element is in a register: each byte is read once and written once.

use std::ops::Range;

use super::parallel::{Shared, for_pieces};
use crate::dtype::{DType, Element};
use crate::memory::Buffer;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};

/// Elements in one task: enough to pay for handing it to a thread.
const PIECE: usize = 1 << 15;

/// What happens to one element, with `S` numbers of state beside it.
pub trait Update<const S: usize>: Send + Sync {
    /// The numbers that are the same for all elements.
    type Scalars<R: Real>: Copy;
    /// These numbers in every lane; called once before each stretch of elements.
    fn scalars<R: Real>(&self) -> Self::Scalars<R>;
    /// The parameter `p` and its state `s` after a step with gradient `g`.
    fn update<R: Real>(&self, scalars: &Self::Scalars<R>, p: R, g: R, s: [R; S]) -> (R, [R; S]);
}

/// A type that parameters are stored as. Gradients and state are stored as `Acc`.
pub trait Trained: Stored {
    /// Single precision for bfloat16, else the type itself.
    type Acc: Stored;
    /// Reads a whole register of gradients or state.
    ///
    /// # Safety
    /// `from` must be valid for reading as many values as `Wide<S>` has lanes.
    unsafe fn load_acc<S: Simd>(from: *const Self::Acc) -> Self::Wide<S>;
    /// Writes a whole register of state.
    ///
    /// # Safety
    /// `to` must be valid for writing as many values as `Wide<S>` has lanes.
    unsafe fn store_acc<S: Simd>(value: Self::Wide<S>, to: *mut Self::Acc);
    /// Reads the first `n` lanes, zero elsewhere.
    ///
    /// # Safety
    /// `from` must be valid for reading `n` values, fewer than there are lanes.
    unsafe fn load_acc_partial<S: Simd>(from: *const Self::Acc, n: usize) -> Self::Wide<S>;
    /// Writes the first `n` lanes.
    ///
    /// # Safety
    /// `to` must be valid for writing `n` values, fewer than there are lanes.
    unsafe fn store_acc_partial<S: Simd>(value: Self::Wide<S>, to: *mut Self::Acc, n: usize);
}

macro_rules! trained {
    ($param:ty, $acc:ty) => {
        impl Trained for $param {
            type Acc = $acc;
            #[inline(always)]
            unsafe fn load_acc<S: Simd>(from: *const $acc) -> Self::Wide<S> {
                // SAFETY: the caller's promise is the same.
                unsafe { <$acc as Stored>::load::<S>(from) }
            }
            #[inline(always)]
            unsafe fn store_acc<S: Simd>(value: Self::Wide<S>, to: *mut $acc) {
                // SAFETY: the caller's promise is the same.
                unsafe { <$acc as Stored>::store::<S>(value, to) }
            }
            #[inline(always)]
            unsafe fn load_acc_partial<S: Simd>(from: *const $acc, n: usize) -> Self::Wide<S> {
                // SAFETY: the caller's promise is the same.
                unsafe { <$acc as Stored>::load_partial::<S>(from, n) }
            }
            #[inline(always)]
            unsafe fn store_acc_partial<S: Simd>(value: Self::Wide<S>, to: *mut $acc, n: usize) {
                // SAFETY: the caller's promise is the same.
                unsafe { <$acc as Stored>::store_partial::<S>(value, to, n) }
            }
        }
    };
}
trained!(f32, f32);
trained!(f64, f64);
trained!(half::bf16, f32);

/// A stretch of elements that is updated alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first element's position in the arenas of parameters and gradients.
    pub param: usize,
    /// The first element's position in the arenas of state.
    pub state: usize,
    /// How many elements.
    pub len: usize,
}

/// Stretches of elements that do not overlap, in their order in memory.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    runs: Vec<Run>,
    /// Elements before each run.
    before: Vec<usize>,
    total: usize,
}

impl Runs {
    /// Checks that the runs lie in order and apart, in both kinds of arena.
    ///
    /// # Panics
    /// Where they do not: tasks on several threads write them at the same time.
    pub fn new(runs: Vec<Run>) -> Self {
        for pair in runs.windows(2) {
            let apart = pair[0].param + pair[0].len <= pair[1].param
                && pair[0].state + pair[0].len <= pair[1].state;
            assert!(apart, "update: runs {:?} and {:?} overlap", pair[0], pair[1]);
        }
        let mut total = 0;
        let mut before = Vec::with_capacity(runs.len());
        for run in &runs {
            before.push(total);
            total += run.len;
        }
        Self { runs, before, total }
    }

    /// How many elements there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The runs in order.
    pub fn as_slice(&self) -> &[Run] {
        &self.runs
    }

    /// The parts of runs at these positions, counted over all runs.
    fn within(&self, range: Range<usize>) -> impl Iterator<Item = Run> {
        let first = self.before.partition_point(|before| *before <= range.start).max(1) - 1;
        let runs = self.runs[first..].iter().zip(&self.before[first..]);
        runs.take_while(move |(_, before)| **before < range.end).map(move |(run, before)| {
            let skip = range.start.saturating_sub(*before);
            let len = run.len.min(range.end - before) - skip;
            Run { param: run.param + skip, state: run.state + skip, len }
        })
    }

    fn ends(&self) -> (usize, usize) {
        self.runs.last().map_or((0, 0), |last| (last.param + last.len, last.state + last.len))
    }
}

/// Updates the elements of `runs` in place. Every element's result depends on that element alone,
/// so the bits do not depend on the number of threads.
///
/// # Panics
/// Where the runs reach beyond an arena.
pub fn update<const S: usize, P: Trained, U: Update<S>>(
    update: &U,
    runs: &Runs,
    params: &mut [P],
    grads: &[P::Acc],
    state: [&mut [P::Acc]; S],
) {
    let (param_end, state_end) = runs.ends();
    assert!(param_end <= params.len() && param_end <= grads.len(), "update: runs leave the arena");
    assert!(state.iter().all(|slot| state_end <= slot.len()), "update: runs leave the state");
    let params = Shared::new(params);
    let grads = Shared::from_ptr(grads.as_ptr().cast_mut());
    let state = state.map(Shared::new);
    for_pieces(runs.total, PIECE, |range| {
        for run in runs.within(range) {
            // SAFETY: runs lie within the arenas, and apart (`Runs::new`), as do pieces of them.
            unsafe {
                dispatch(Stretch {
                    update,
                    params: params.at(run.param),
                    grads: grads.at(run.param).cast_const(),
                    state: std::array::from_fn(|k| state[k].at(run.state)),
                    len: run.len,
                });
            }
        }
    });
}

struct Stretch<'a, const S: usize, P: Trained, U> {
    update: &'a U,
    params: *mut P,
    grads: *const P::Acc,
    state: [*mut P::Acc; S],
    len: usize,
}

impl<const S: usize, P: Trained, U: Update<S>> Kernel for Stretch<'_, S, P, U> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let Self { update, params, grads, state, len } = self;
        let lanes = P::Wide::<V>::LANES;
        let scalars = update.scalars::<P::Wide<V>>();
        let mut s = [P::Wide::<V>::of(0.0); S];
        let mut i = 0;
        // SAFETY: whoever made the stretch vouches for `len` elements of each.
        unsafe {
            while i + lanes <= len {
                for k in 0..S {
                    s[k] = P::load_acc::<V>(state[k].add(i));
                }
                let (p, g) = (P::load::<V>(params.add(i)), P::load_acc::<V>(grads.add(i)));
                let (p, s) = update.update(&scalars, p, g, s);
                P::store::<V>(p, params.add(i));
                for k in 0..S {
                    P::store_acc::<V>(s[k], state[k].add(i));
                }
                i += lanes;
            }
            let left = len - i;
            if left > 0 {
                for k in 0..S {
                    s[k] = P::load_acc_partial::<V>(state[k].add(i), left);
                }
                let p = P::load_partial::<V>(params.add(i), left);
                let g = P::load_acc_partial::<V>(grads.add(i), left);
                let (p, s) = update.update(&scalars, p, g, s);
                P::store_partial::<V>(p, params.add(i), left);
                for k in 0..S {
                    P::store_acc_partial::<V>(s[k], state[k].add(i), left);
                }
            }
        }
    }
}

/// Memory for one slot of optimizer state, from the pool.
pub struct StateArena {
    buffer: Buffer,
    dtype: DType,
}

impl StateArena {
    /// `len` zeros.
    pub fn zeros(len: usize, dtype: DType) -> Self {
        Self { buffer: Buffer::zeroed(len * dtype.size()), dtype }
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// All elements.
    ///
    /// # Panics
    /// Where `T` is not the arena's type.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        assert!(T::DTYPE == self.dtype, "state holds {}, not {}", self.dtype, T::DTYPE);
        self.buffer.as_slice()
    }

    /// All elements, to write.
    ///
    /// # Panics
    /// Where `T` is not the arena's type.
    pub fn as_slice_mut<T: Element>(&mut self) -> &mut [T] {
        assert!(T::DTYPE == self.dtype, "state holds {}, not {}", self.dtype, T::DTYPE);
        self.buffer.as_slice_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds `g` to the parameter, and 1 to the state: every element must be met exactly once.
    struct Count;
    impl Update<1> for Count {
        type Scalars<R: Real> = R;
        fn scalars<R: Real>(&self) -> R {
            R::of(1.0)
        }
        fn update<R: Real>(&self, one: &R, p: R, g: R, [n]: [R; 1]) -> (R, [R; 1]) {
            (p + g, [n + *one])
        }
    }

    fn walk<P: Trained>(runs: &[Run], len: usize) {
        let number = |i: usize| (i % 100) as f64;
        let mut params: Vec<P> = (0..len).map(|i| P::from_f64(number(i))).collect();
        let grads: Vec<P::Acc> = (0..len).map(|i| P::Acc::from_f64(number(i) + 1.0)).collect();
        let mut state = StateArena::zeros(len, P::Acc::DTYPE);
        update(&Count, &Runs::new(runs.to_vec()), &mut params, &grads, [state.as_slice_mut()]);
        let (mut in_params, mut in_state) = (vec![false; len], vec![false; len]);
        for run in runs {
            in_params[run.param..run.param + run.len].fill(true);
            in_state[run.state..run.state + run.len].fill(true);
        }
        for i in 0..len {
            let want = number(i) + if in_params[i] { number(i) + 1.0 } else { 0.0 };
            assert_eq!(params[i].to_f64(), want, "parameter {i}");
            assert_eq!(state.as_slice::<P::Acc>()[i].to_f64(), f64::from(in_state[i]), "state {i}");
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
            walk::<f32>(runs, 3 * PIECE);
            walk::<f64>(runs, 3 * PIECE);
            walk::<half::bf16>(runs, 3 * PIECE);
        }
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn runs_that_overlap_are_refused() {
        Runs::new(vec![Run { param: 0, state: 0, len: 3 }, Run { param: 2, state: 3, len: 3 }]);
    }

    #[test]
    #[should_panic(expected = "leave the arena")]
    fn runs_beyond_the_arena_are_refused() {
        let runs = Runs::new(vec![Run { param: 0, state: 0, len: 5 }]);
        update(&Count, &runs, &mut [0.0_f32; 4], &[0.0; 4], [&mut [0.0; 5]]);
    }
}
