//! All parameters as one vector: sums and products whose bits no number of threads changes.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use rappel_tensor::{Element, Float, StateArena, StateKind};
use rayon::prelude::*;

/// Numbers in memory from the pool.
pub struct Vector<A> {
    arena: StateArena,
    element: PhantomData<A>,
}

impl<A: Float> Vector<A> {
    /// `n` zeros.
    pub fn zeros(n: usize) -> Self {
        Self { arena: StateArena::zeros(n, StateKind::Number(A::DTYPE)), element: PhantomData }
    }

    /// A copy of `values`.
    pub fn of(values: &[A]) -> Self {
        let mut vector = Self::zeros(values.len());
        vector.copy_from_slice(values);
        vector
    }
}

impl<A> fmt::Debug for Vector<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vector").finish_non_exhaustive()
    }
}

impl<A: Float> Deref for Vector<A> {
    type Target = [A];
    fn deref(&self) -> &[A] {
        self.arena.as_slice()
    }
}

impl<A: Float> DerefMut for Vector<A> {
    fn deref_mut(&mut self) -> &mut [A] {
        self.arena.as_slice_mut()
    }
}

/// Elements of a piece. Sums are taken over pieces, then over their sums in order.
pub(crate) const PIECE: usize = 1 << 14;

/// Partial sums of a piece, so that its additions need not wait for each other.
const LANES: usize = 8;

/// `sum f(a_i, b_i)`, in double precision.
pub(crate) fn sum<A: Element, B: Element>(
    a: &[A],
    b: &[B],
    f: impl Fn(f64, f64) -> f64 + Sync,
) -> f64 {
    let of_piece = |a: &[A], b: &[B]| -> f64 {
        let mut lanes = [0.0; LANES];
        let (a, a_rest) = a.as_chunks::<LANES>();
        let (b, b_rest) = b.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            for k in 0..LANES {
                lanes[k] += f(a[k].to_f64(), b[k].to_f64());
            }
        }
        let rest = a_rest.iter().zip(b_rest).map(|(a, b)| f(a.to_f64(), b.to_f64()));
        lanes.iter().sum::<f64>() + rest.sum::<f64>()
    };
    if a.len() <= PIECE {
        return of_piece(a, b);
    }
    let pieces = a.par_chunks(PIECE).zip(b.par_chunks(PIECE));
    pieces.map(|(a, b)| of_piece(a, b)).collect::<Vec<f64>>().into_iter().sum()
}

/// `a . b`.
pub(crate) fn dot<A: Float>(a: &[A], b: &[A]) -> f64 {
    sum(a, b, |a, b| a * b)
}

/// `sum |a_i|`.
pub(crate) fn l1<A: Float>(a: &[A]) -> f64 {
    sum(a, a, |a, _| a.abs())
}

/// `max |a_i|`, 0 where there is none; NaN where one is.
pub(crate) fn largest<A: Float>(a: &[A]) -> f64 {
    let larger = |m: f64, x: f64| if x > m || x.is_nan() { x } else { m };
    let of_piece = |a: &[A]| a.iter().fold(0.0, |m, x| larger(m, x.to_f64().abs()));
    let pieces: Vec<f64> = a.par_chunks(PIECE).map(of_piece).collect();
    pieces.into_iter().fold(0.0, larger)
}

/// `f(a_i, b_i)` for each `i`.
pub(crate) fn zip<A: Float>(a: &[A], b: &[A], f: impl Fn(f64, f64) -> f64 + Sync) -> Vector<A> {
    let mut vector = Vector::of(a);
    update(&mut vector, b, f);
    vector
}

/// `a_i <- f(a_i, b_i)` for each `i`.
pub(crate) fn update<A: Float>(a: &mut [A], b: &[A], f: impl Fn(f64, f64) -> f64 + Sync) {
    let each = |(a, b): (&mut A, &A)| *a = A::from_f64(f(a.to_f64(), b.to_f64()));
    a.par_iter_mut().with_min_len(PIECE).zip(b).for_each(each);
}
