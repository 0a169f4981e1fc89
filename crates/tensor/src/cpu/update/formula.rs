//! Formulas over stretches of memory, on vector registers.

use crate::real::{Kernel, Lanes, MAX_LANES, Real, Simd, Stored, dispatch};

/// What happens to one element, with `S` numbers of state beside it.
pub trait Update<const S: usize>: Sync {
    /// The numbers that are the same for all elements.
    type Scalars<R: Real>: Copy;
    /// These numbers in every lane; called once before each stretch of elements.
    fn scalars<R: Real>(&self) -> Self::Scalars<R>;
    /// The parameter `p` and its state `s` after a step with gradient `g`.
    fn update<R: Real>(&self, scalars: &Self::Scalars<R>, p: R, g: R, s: [R; S]) -> (R, [R; S]);
}

/// What is added up over elements, with `S` numbers of state beside each, and `K` sums.
pub trait Gather<const S: usize, const K: usize>: Sync {
    /// The numbers that are the same for all elements.
    type Scalars<R: Real>: Copy;
    /// These numbers in every lane; called once before each stretch of elements.
    fn scalars<R: Real>(&self) -> Self::Scalars<R>;
    /// The state of a parameter `p` with gradient `g`, and what it adds to the sums.
    fn gather<R: Real>(
        &self,
        scalars: &Self::Scalars<R>,
        p: R,
        g: R,
        s: [R; S],
    ) -> ([R; S], [R; K]);
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
    let len = params.len();
    assert!(grads.len() == len && state.iter().all(|s| s.len() == len), "update: lengths differ");
    let state = state.map(<[T]>::as_mut_ptr);
    dispatch(Apply { update, params: params.as_mut_ptr(), grads: grads.as_ptr(), state, len });
}

/// Updates the state of a stretch in place, on this thread, and adds up.
///
/// # Panics
/// Where the slices differ in length.
pub fn gather<const S: usize, const K: usize, T: Stored, G: Gather<S, K>>(
    gather: &G,
    params: &[T],
    grads: &[T],
    state: [&mut [T]; S],
) -> [f64; K] {
    let len = params.len();
    assert!(grads.len() == len && state.iter().all(|s| s.len() == len), "gather: lengths differ");
    let state = state.map(<[T]>::as_mut_ptr);
    dispatch(Sum { gather, params: params.as_ptr(), grads: grads.as_ptr(), state, len })
}

struct Apply<'a, const S: usize, T, U> {
    update: &'a U,
    params: *mut T,
    grads: *const T,
    state: [*mut T; S],
    len: usize,
}

/// Where the elements of a loop begin.
struct Place<const S: usize, T> {
    params: *mut T,
    grads: *const T,
    state: [*mut T; S],
}

impl<const S: usize, T: Stored> Place<S, T> {
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

impl<const S: usize, T: Stored, U: Update<S>> Kernel for Apply<'_, S, T, U> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let Self { update, params, grads, state, len } = self;
        let lanes = T::Wide::<V>::LANES;
        let scalars = update.scalars::<T::Wide<V>>();
        let (whole, mut last) = (Place { params, grads, state }, Last::new());
        let mut done = 0;
        while done < len {
            let (left, here) = (len - done, whole.at(done));
            let direct = left >= lanes;
            let n = if direct { left - left % lanes } else { left };
            // SAFETY: all have `len` elements (`apply`); `last` holds a register.
            unsafe {
                let place = if direct { here.at(0) } else { last.fill(&here, n) };
                for i in (0..n).step_by(lanes) {
                    let Place { params, grads, state } = place.at(i);
                    let s = std::array::from_fn(|k| T::load::<V>(state[k]));
                    let (p, g) = (T::load::<V>(params), T::load::<V>(grads));
                    let (p, s) = update.update(&scalars, p, g, s);
                    T::store::<V>(p, params);
                    for k in 0..S {
                        T::store::<V>(s[k], state[k]);
                    }
                }
                if !direct {
                    last.empty(&here, n, true);
                }
            }
            done += n;
        }
    }
}

struct Sum<'a, const S: usize, const K: usize, T, G> {
    gather: &'a G,
    params: *const T,
    grads: *const T,
    state: [*mut T; S],
    len: usize,
}

impl<const S: usize, const K: usize, T: Stored, G: Gather<S, K>> Kernel for Sum<'_, S, K, T, G> {
    type Output = [f64; K];
    #[inline(always)]
    fn run<V: Simd>(self) -> [f64; K] {
        let Self { gather, params, grads, state, len } = self;
        let lanes = T::Wide::<V>::LANES;
        let zero = T::Wide::<V>::of(0.0);
        let scalars = gather.scalars::<T::Wide<V>>();
        let numbers: [T; MAX_LANES] = std::array::from_fn(|i| T::from_f64(i as f64));
        let (whole, mut last) = (Place { params: params.cast_mut(), grads, state }, Last::new());
        let mut sums = [zero; K];
        let mut done = 0;
        while done < len {
            let (left, here) = (len - done, whole.at(done));
            let direct = left >= lanes;
            let n = if direct { left - left % lanes } else { left };
            // SAFETY: all have `len` elements (`gather`); `last` and `numbers` hold a register.
            unsafe {
                let place = if direct { here.at(0) } else { last.fill(&here, n) };
                // Beyond the last element stands the formula of zeros, which may be no number.
                let counts = T::load::<V>(numbers.as_ptr()).lt(T::Wide::<V>::of(n as f64));
                for i in (0..n).step_by(lanes) {
                    let Place { params, grads, state } = place.at(i);
                    let s = std::array::from_fn(|k| T::load::<V>(state[k]));
                    let (p, g) = (T::load::<V>(params), T::load::<V>(grads));
                    let (s, more) = gather.gather(&scalars, p, g, s);
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
        sums.map(|sum| sum.reduce_sum().into())
    }
}
