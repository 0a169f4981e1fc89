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

impl<const S: usize, T: Stored, U: Update<S>> Kernel for Apply<'_, S, T, U> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self) {
        let Self { update, params, grads, state, len } = self;
        let lanes = T::Wide::<V>::LANES;
        let scalars = update.scalars::<T::Wide<V>>();
        let mut s = [T::Wide::<V>::of(0.0); S];
        let mut i = 0;
        // SAFETY: all have `len` elements (`apply`).
        unsafe {
            while i + lanes <= len {
                for k in 0..S {
                    s[k] = T::load::<V>(state[k].add(i));
                }
                let (p, g) = (T::load::<V>(params.add(i)), T::load::<V>(grads.add(i)));
                let (p, s) = update.update(&scalars, p, g, s);
                T::store::<V>(p, params.add(i));
                for k in 0..S {
                    T::store::<V>(s[k], state[k].add(i));
                }
                i += lanes;
            }
            let left = len - i;
            if left > 0 {
                for k in 0..S {
                    s[k] = T::load_partial::<V>(state[k].add(i), left);
                }
                let p = T::load_partial::<V>(params.add(i), left);
                let g = T::load_partial::<V>(grads.add(i), left);
                let (p, s) = update.update(&scalars, p, g, s);
                T::store_partial::<V>(p, params.add(i), left);
                for k in 0..S {
                    T::store_partial::<V>(s[k], state[k].add(i), left);
                }
            }
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
        let (mut s, mut sums) = ([zero; S], [zero; K]);
        let mut last = [[T::from_f64(0.0); MAX_LANES]; K];
        let mut i = 0;
        // SAFETY: all have `len` elements (`gather`); `last` holds a whole register each.
        unsafe {
            while i + lanes <= len {
                for k in 0..S {
                    s[k] = T::load::<V>(state[k].add(i));
                }
                let (p, g) = (T::load::<V>(params.add(i)), T::load::<V>(grads.add(i)));
                let (s, more) = gather.gather(&scalars, p, g, s);
                for k in 0..S {
                    T::store::<V>(s[k], state[k].add(i));
                }
                for k in 0..K {
                    sums[k] = sums[k] + more[k];
                }
                i += lanes;
            }
            let left = len - i;
            if left > 0 {
                for k in 0..S {
                    s[k] = T::load_partial::<V>(state[k].add(i), left);
                }
                let p = T::load_partial::<V>(params.add(i), left);
                let g = T::load_partial::<V>(grads.add(i), left);
                let (s, more) = gather.gather(&scalars, p, g, s);
                for k in 0..S {
                    T::store_partial::<V>(s[k], state[k].add(i), left);
                }
                for k in 0..K {
                    // The other lanes hold the formula of zeros, which may be no number.
                    T::store_partial::<V>(more[k], last[k].as_mut_ptr(), left);
                }
            }
        }
        std::array::from_fn(|k| {
            let rest: f64 = last[k].iter().map(|x| x.to_f64()).sum();
            sums[k].reduce_sum().into() + rest
        })
    }
}
