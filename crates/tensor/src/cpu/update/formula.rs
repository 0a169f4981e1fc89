//! Formulas over stretches of memory, on vector registers.

use super::blocks::{Block, Blocks, One};
use crate::real::{Kernel, Lanes, MAX_LANES, Real, Simd, Stored, dispatch};

/// What happens to one element, with `S` numbers of state beside it.
pub trait Update<const S: usize>: Sync {
    /// Whether parameters change; where not, they are not written.
    const WRITES_PARAMS: bool = true;
    /// The parameter and its state after a step, from the parameter, its gradient (in a walk without
    /// gradients the parameter again) and its state. What is computed before the closure is computed once
    /// for many elements; the closure itself must be `#[inline(always)]`.
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; S]) -> (R, [R; S]);
}

/// What is added up over elements, with `S` numbers of state beside each, and `K` sums.
pub trait Reduce<const S: usize, const K: usize>: Sync {
    /// The state of a parameter, and what it adds to the sums, from the parameter, its gradient and its
    /// state; as [`Update::formula`].
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; S]) -> ([R; S], [R; K]);
}

/// Updates a stretch in place, on this thread.
///
/// # Panics
/// Where the slices differ in length.
pub fn apply<const S: usize, T: Stored, U: Update<S>>(
    update: &U,
    params: &mut [T],
    grads: &[T],
    state: [&mut [T]; S],
) {
    apply_blocks(update, &mut One::new(params, grads, state));
}

/// Adds up over a stretch, on this thread.
///
/// # Panics
/// Where the slices differ in length.
pub fn reduce<const S: usize, const K: usize, T: Stored, G: Reduce<S, K>>(
    reduce: &G,
    params: &mut [T],
    grads: &[T],
    state: [&mut [T]; S],
) -> [f64; K] {
    let sums = reduce_blocks(reduce, &mut One::new(params, grads, state));
    sums.first().copied().unwrap_or([0.0; K])
}

pub(super) fn apply_blocks<const S: usize, T: Stored, U: Update<S>>(
    update: &U,
    blocks: &mut dyn Blocks<T>,
) {
    dispatch((Apply { update, blocks }, [(); S]));
}

/// The sums of each block.
pub(super) fn reduce_blocks<const S: usize, const K: usize, T: Stored, G: Reduce<S, K>>(
    reduce: &G,
    blocks: &mut dyn Blocks<T>,
) -> Vec<[f64; K]> {
    dispatch((Sum { reduce, blocks }, [(); S], [(); K]))
}

/// Where the elements of a loop begin.
struct Place<const S: usize, T> {
    params: *mut T,
    grads: *const T,
    state: [*mut T; S],
}

impl<const S: usize, T: Stored> Place<S, T> {
    #[inline(always)]
    fn of(block: &Block<T>) -> Self {
        let Block { params, grads, state, .. } = block;
        Self { params: *params, grads: *grads, state: std::array::from_fn(|k| state[k]) }
    }

    /// The place `i` elements on.
    #[inline(always)]
    fn at(&self, i: usize) -> Self {
        Self {
            params: self.params.wrapping_add(i),
            grads: self.grads.wrapping_add(i),
            state: std::array::from_fn(|k| self.state[k].wrapping_add(i)),
        }
    }
}

/// A register's worth of elements: the last few of a stretch pass through here, so that one loop
/// serves all and the formula is compiled once for each type and instruction set.
struct Last<const S: usize, T> {
    params: [T; MAX_LANES],
    grads: [T; MAX_LANES],
    state: [[T; MAX_LANES]; S],
}

impl<const S: usize, T: Stored> Last<S, T> {
    fn new() -> Self {
        let zero = [T::from_f64(0.0); MAX_LANES];
        Self { params: zero, grads: zero, state: [zero; S] }
    }

    /// Takes `n` elements from `place`.
    ///
    /// # Safety
    /// They are there to read, and fit.
    #[inline(always)]
    unsafe fn fill(&mut self, place: &Place<S, T>, n: usize) -> Place<S, T> {
        // SAFETY: the caller's promise.
        unsafe {
            self.params.as_mut_ptr().copy_from_nonoverlapping(place.params, n);
            self.grads.as_mut_ptr().copy_from_nonoverlapping(place.grads, n);
            for k in 0..S {
                self.state[k].as_mut_ptr().copy_from_nonoverlapping(place.state[k], n);
            }
        }
        let state = self.state.each_mut().map(|slot| slot.as_mut_ptr());
        Place { params: self.params.as_mut_ptr(), grads: self.grads.as_ptr(), state }
    }

    /// Puts the state of `n` elements back, and with `params` these.
    ///
    /// # Safety
    /// There is room for them.
    #[inline(always)]
    unsafe fn empty(&self, place: &Place<S, T>, n: usize, params: bool) {
        // SAFETY: the caller's promise.
        unsafe {
            if params {
                place.params.copy_from_nonoverlapping(self.params.as_ptr(), n);
            }
            for k in 0..S {
                place.state[k].copy_from_nonoverlapping(self.state[k].as_ptr(), n);
            }
        }
    }
}

struct Apply<'a, T, U> {
    update: &'a U,
    blocks: &'a mut dyn Blocks<T>,
}

impl<const S: usize, T: Stored, U: Update<S>> Kernel for (Apply<'_, T, U>, [(); S]) {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let Apply { update, blocks } = self.0;
        let lanes = T::Wide::<V>::LANES;
        let formula = update.formula::<T::Wide<V>>();
        let mut last = Last::<S, T>::new();
        while let Some(block) = blocks.next() {
            let (whole, len) = (Place::<S, T>::of(&block), block.len);
            let mut done = 0;
            while done < len {
                let (left, here) = (len - done, whole.at(done));
                let direct = left >= lanes;
                let n = if direct { left - left % lanes } else { left };
                // SAFETY: a block has `len` elements of each (`Blocks`); `last` holds a register.
                unsafe {
                    let place = if direct { here.at(0) } else { last.fill(&here, n) };
                    for i in (0..n).step_by(lanes) {
                        let Place { params, grads, state } = place.at(i);
                        let s = std::array::from_fn(|k| T::load::<V>(state[k]));
                        let (p, g) = (T::load::<V>(params), T::load::<V>(grads));
                        let (p, s) = formula(p, g, s);
                        // State first: a slot that stays as it is then is never written.
                        for k in 0..S {
                            T::store::<V>(s[k], state[k]);
                        }
                        if U::WRITES_PARAMS {
                            T::store::<V>(p, params);
                        }
                    }
                    if !direct {
                        last.empty(&here, n, U::WRITES_PARAMS);
                    }
                }
                done += n;
            }
        }
    }
}

struct Sum<'a, T, G> {
    reduce: &'a G,
    blocks: &'a mut dyn Blocks<T>,
}

impl<const S: usize, const K: usize, T: Stored, G: Reduce<S, K>> Kernel
    for (Sum<'_, T, G>, [(); S], [(); K])
{
    type Output = Vec<[f64; K]>;
    #[inline(always)]
    fn run<V: Simd>(self) -> Vec<[f64; K]> {
        let Sum { reduce, blocks } = self.0;
        let lanes = T::Wide::<V>::LANES;
        let zero = T::Wide::<V>::of(0.0);
        let formula = reduce.formula::<T::Wide<V>>();
        let numbers: [T; MAX_LANES] = std::array::from_fn(|i| T::from_f64(i as f64));
        let mut last = Last::<S, T>::new();
        let mut all = Vec::with_capacity(1);
        while let Some(block) = blocks.next() {
            let (whole, len) = (Place::<S, T>::of(&block), block.len);
            let mut sums = [zero; K];
            let mut done = 0;
            while done < len {
                let (left, here) = (len - done, whole.at(done));
                let direct = left >= lanes;
                let n = if direct { left - left % lanes } else { left };
                // SAFETY: a block has `len` elements of each (`Blocks`); `last` and `numbers` hold a
                // register.
                unsafe {
                    let place = if direct { here.at(0) } else { last.fill(&here, n) };
                    // Beyond the last element stands the formula of zeros, which may be no number.
                    let counts = T::load::<V>(numbers.as_ptr()).lt(T::Wide::<V>::of(n as f64));
                    for i in (0..n).step_by(lanes) {
                        let Place { params, grads, state } = place.at(i);
                        let s = std::array::from_fn(|k| T::load::<V>(state[k]));
                        let (p, g) = (T::load::<V>(params), T::load::<V>(grads));
                        let (s, more) = formula(p, g, s);
                        for k in 0..S {
                            T::store::<V>(s[k], state[k]);
                        }
                        for k in 0..K {
                            sums[k] = sums[k] + T::Wide::<V>::select(counts, more[k], zero);
                        }
                    }
                    if !direct {
                        last.empty(&here, n, false);
                    }
                }
                done += n;
            }
            all.push(sums.map(|sum| sum.reduce_sum().into()));
        }
        all
    }
}
