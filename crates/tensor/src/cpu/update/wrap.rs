//! What stands around a rule: it changes what the rule sees, and what becomes of what it did.

use std::fmt;

use super::blocks::{Block, Blocks, CONVERTED};
use crate::real::Stored;

/// Changes around a rule, on copies of some neighbouring elements that lie in the first-level cache.
///
/// `at` is the position of the first of them in the arena of parameters. The elements belong to one run of
/// the walk, and begin a multiple of [`STATE_BLOCK`](super::STATE_BLOCK) elements after its start.
pub trait Wrap<T>: Sync {
    /// Turns copies of parameters and gradients into what the rule is to see.
    fn before(&self, at: usize, params: &mut [T], grads: &mut [T]);
    /// Turns the parameters into what they become, from what the rule made of their copies, `new`; `grads`
    /// are those that the rule saw.
    fn after(&self, at: usize, params: &mut [T], grads: &[T], new: &mut [T]);
}

/// A [`Wrap`] in the type that steps are computed in.
#[derive(Clone, Copy)]
pub enum Wrapping<'a> {
    /// In single precision.
    F32(&'a dyn Wrap<f32>),
    /// In double precision.
    F64(&'a dyn Wrap<f64>),
}

impl fmt::Debug for Wrapping<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32(_) => "Wrapping::F32",
            Self::F64(_) => "Wrapping::F64",
        })
    }
}

impl<'a> Wrapping<'a> {
    pub(super) fn single(self) -> &'a dyn Wrap<f32> {
        match self {
            Self::F32(wrap) => wrap,
            Self::F64(_) => panic!("update: what stands around the rule is in double precision"),
        }
    }

    pub(super) fn double(self) -> &'a dyn Wrap<f64> {
        match self {
            Self::F64(wrap) => wrap,
            Self::F32(_) => panic!("update: what stands around the rule is in single precision"),
        }
    }
}

/// Blocks whose parameters and gradients are copies that were changed.
pub(super) struct Wrapped<'a, T> {
    wrap: &'a dyn Wrap<T>,
    inner: &'a mut dyn Blocks<T>,
    /// Whether parameters are written.
    writes: bool,
    /// What is left of the inner block, and how many elements before that are still to be kept.
    rest: Option<Block<T>>,
    open: Option<Block<T>>,
    params: [T; CONVERTED],
    grads: [T; CONVERTED],
}

impl<'a, T: Stored> Wrapped<'a, T> {
    pub fn new(wrap: &'a dyn Wrap<T>, inner: &'a mut dyn Blocks<T>, writes: bool) -> Self {
        let zeros = [T::from_f64(0.0); CONVERTED];
        Self { wrap, inner, writes, rest: None, open: None, params: zeros, grads: zeros }
    }

    fn keep(&mut self) {
        let Some(Block { at, params, len, .. }) = self.open.take() else { return };
        if self.writes {
            // SAFETY: the block is this task's alone (`Block`).
            let stored = unsafe { std::slice::from_raw_parts_mut(params, len) };
            self.wrap.after(at, stored, &self.grads[..len], &mut self.params[..len]);
        }
    }
}

impl<T: Stored> Blocks<T> for Wrapped<'_, T> {
    fn next(&mut self) -> Option<Block<T>> {
        self.keep();
        let all = match self.rest.take() {
            Some(rest) => rest,
            None => self.inner.next()?,
        };
        let len = all.len.min(CONVERTED);
        self.rest = (len < all.len).then(|| all.part(len, all.len - len));
        // SAFETY: the block is this task's alone (`Block`).
        unsafe {
            self.params[..len].copy_from_slice(std::slice::from_raw_parts(all.params, len));
            self.grads[..len].copy_from_slice(std::slice::from_raw_parts(all.grads, len));
        }
        self.wrap.before(all.at, &mut self.params[..len], &mut self.grads[..len]);
        self.open = Some(Block { len, ..all });
        let (params, grads) = (self.params.as_mut_ptr(), self.grads.as_ptr());
        Some(Block { at: all.at, params, grads, state: all.state, len })
    }
}
