//! The backward pass: tasks are heads of keys and values, with all queries that read them.

use super::rows::{Block, cap, dots, scaled, slopes};
use super::{Heads, KEYS, Number};
use crate::cpu::gemm::{Float, How, Operand, View, gemm};
use crate::cpu::parallel::for_pieces;
use crate::cpu::scratch::{Scratch, padded};
use crate::dtype::Element;
use crate::kernels::args::{Problem, Saved};
use crate::profile::timed;
use crate::tensor::Tensor;
use crate::with_float;

/// Queries in a block.
const QUERIES: usize = 56;

/// The gradients of queries, keys and values, each contiguous; `grad` is contiguous.
pub(crate) fn backward(p: &Problem, saved: &Saved, grad: &Tensor) -> [Tensor; 3] {
    let dtype = grad.dtype();
    let mut dq = Tensor::uninit([p.batch, p.time, p.heads, p.dim].into(), dtype);
    let mut dk = Tensor::uninit([p.batch, p.keys, p.kv_heads, p.dim].into(), dtype);
    let mut dv = Tensor::uninit(dk.shape(), dtype);
    let (wide, narrow) = (p.heads * p.dim, p.kv_heads * p.dim);
    with_float!(dtype, "attention", T => {
        let dq = Heads::<T>::within(&mut dq, p.time, wide, p.dim, 0);
        let dk = Heads::<T>::within(&mut dk, p.keys, narrow, p.dim, 0);
        let dv = Heads::<T>::within(&mut dv, p.keys, narrow, p.dim, 0);
        run(p, saved, grad, [dq, dk, dv]);
    });
    [dq, dk, dv]
}

/// The same side by side in one tensor `[batch, time, 3 * heads * dim]`.
pub(crate) fn backward_packed(p: &Problem, saved: &Saved, grad: &Tensor) -> Tensor {
    let width = p.heads * p.dim;
    let mut all = Tensor::uninit([p.batch, p.time, 3 * width].into(), grad.dtype());
    with_float!(grad.dtype(), "attention", T => {
        let parts = [0, 1, 2].map(|i| {
            Heads::<T>::within(&mut all, p.time, 3 * width, p.dim, i * width)
        });
        run(p, saved, grad, parts);
    });
    all
}

fn run<T: Number>(p: &Problem, saved: &Saved, grad: &Tensor, [dq, dk, dv]: [Heads<T>; 3]) {
    let _timer = timed("attention", p.flops(5), p.bytes(4, 4, size_of::<T>()));
    let read = Heads::<T>::of;
    let (q, k, v) = (read(&saved.q), read(&saved.k), read(&saved.v));
    let (out, grad) = (read(&saved.out), read(grad));
    let lse = saved.lse.slice::<f64>();
    for_pieces(p.batch * p.kv_heads, 1, |task| {
        let (b, kv) = (task.start / p.kv_heads, task.start % p.kv_heads);
        // SAFETY: each task writes the gradients of its own heads.
        unsafe { Task { p, q, k, v, out, grad, lse, dq, dk, dv, b, kv }.run() }
    });
}

/// One head of keys and values of one sequence.
struct Task<'a, T> {
    p: &'a Problem,
    q: Heads<T>,
    k: Heads<T>,
    v: Heads<T>,
    out: Heads<T>,
    grad: Heads<T>,
    lse: &'a [f64],
    dq: Heads<T>,
    dk: Heads<T>,
    dv: Heads<T>,
    b: usize,
    kv: usize,
}

/// Where a gradient is summed: in its tensor, or in scratch memory where its type is too narrow.
struct Sums<T: Number> {
    to: *mut T,
    stride: usize,
    scratch: *mut T::Sum,
    dim: usize,
    how: How,
}

impl<T: Number> Sums<T> {
    /// Writes, or adds, `alpha a b` to the rows from `first` on.
    ///
    /// # Safety
    /// The views are valid and have as many rows as are left.
    unsafe fn product<B: Operand<Acc = T::Sum>>(
        &self,
        (first, rows, depth): (usize, usize, usize),
        alpha: T::Sum,
        a: View<T::Sum>,
        b: View<B>,
        add: bool,
    ) {
        let size = (rows, self.dim, depth);
        // SAFETY: the caller's promise.
        unsafe {
            if T::NATIVE {
                let to = self.to.add(first * self.stride);
                gemm(size, alpha, a, b, to, self.stride, add, None, self.how);
            } else {
                let to = self.scratch.add(first * self.dim);
                gemm(size, alpha, a, b, to, self.dim, add, None, self.how);
            }
        }
    }

    /// Brings `rows` rows from scratch memory to the tensor.
    ///
    /// # Safety
    /// They are complete.
    unsafe fn finish(&self, rows: usize) {
        if !T::NATIVE {
            for r in 0..rows {
                // SAFETY: the caller's promise.
                unsafe {
                    let (from, to) = (self.scratch.add(r * self.dim), self.to.add(r * self.stride));
                    scaled::<T>(from.cast(), &[1.0], self.dim, to, 0);
                }
            }
        }
    }

    /// Zeros in all rows, to add to.
    ///
    /// # Safety
    /// There are so many.
    unsafe fn zero(&self, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            if T::NATIVE {
                self.clear(rows);
            } else {
                self.scratch.write_bytes(0, rows * self.dim);
            }
        }
    }

    /// Zeros in all rows of the tensor.
    ///
    /// # Safety
    /// There are so many.
    unsafe fn clear(&self, rows: usize) {
        for r in 0..rows {
            // SAFETY: the caller's promise.
            unsafe {
                let row = std::slice::from_raw_parts_mut(self.to.add(r * self.stride), self.dim);
                row.fill(<T as Element>::from_f64(0.0));
            }
        }
    }
}

/// Scratch memory of a task.
struct Memory<T: Number> {
    scores: *mut T::Sum,
    grads: *mut T::Sum,
    stride: usize,
    dq: *mut T::Sum,
}

impl<T: Number> Task<'_, T> {
    /// # Safety
    /// The operands are as the problem says, and nobody else touches these heads' gradients.
    unsafe fn run(&self) {
        let (p, b, kv) = (self.p, self.b, self.kv);
        let stride = Block::<T::Sum>::stride(p.keys.min(KEYS));
        let narrow = |rows: usize| if T::NATIVE { 0 } else { rows * p.dim };
        let bytes = 2 * padded::<T::Sum>(QUERIES * stride)
            + padded::<T::Sum>(narrow(QUERIES))
            + 2 * padded::<T::Sum>(narrow(p.keys));
        let mut scratch = Scratch::take(bytes);
        let memory = Memory::<T> {
            scores: scratch.part(QUERIES * stride),
            grads: scratch.part(QUERIES * stride),
            stride,
            dq: scratch.part(narrow(QUERIES)),
        };
        let (dim, rows) = (p.dim, p.keys);
        let mut sums = |to: &Heads<T>| Sums {
            to: to.row(b, 0, kv),
            stride: to.strides[1],
            scratch: scratch.part(narrow(rows)),
            dim,
            how: p.how(),
        };
        let (dk, dv) = (sums(&self.dk), sums(&self.dv));
        let group = p.heads / p.kv_heads;
        // SAFETY: the caller's promise.
        unsafe {
            if p.time == 0 || group == 0 {
                dk.clear(p.keys);
                dv.clear(p.keys);
                return;
            }
            if p.skips() {
                dk.zero(p.keys);
                dv.zero(p.keys);
            }
            for h in kv * group..(kv + 1) * group {
                // Where nothing is skipped the last block sees all keys, so it can write what the others add to.
                for block in (0..p.time.div_ceil(QUERIES)).rev() {
                    let t = block * QUERIES;
                    let last = h == kv * group && t + QUERIES >= p.time;
                    let fresh = last && !p.skips();
                    self.block(h, t..p.time.min(t + QUERIES), &memory, (&dk, &dv), fresh);
                }
            }
            dk.finish(p.keys);
            dv.finish(p.keys);
        }
    }

    /// The gradients that a block of queries of head `h` gives; `fresh` where those of keys and
    /// values were not written yet.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn block(
        &self,
        h: usize,
        queries: std::ops::Range<usize>,
        memory: &Memory<T>,
        (dk, dv): (&Sums<T>, &Sums<T>),
        fresh: bool,
    ) {
        let (p, b) = (self.p, self.b);
        let (rows, t) = (queries.len(), queries.start);
        let (lowest, reach) = (p.first(b, t), p.visible(queries.end - 1));
        let (to, stride) = (self.dq.row(b, t, h), self.dq.strides[1]);
        let dq = Sums { to, stride, scratch: memory.dq, dim: p.dim, how: p.how() };
        let (mut delta, mut seeds) = ([0.0; QUERIES], [0; QUERIES]);
        let lse = &self.lse[(b * p.heads + h) * p.time + t..][..rows];
        p.seed(b, h, t, &mut seeds[..rows]);
        // SAFETY: the caller's promise.
        unsafe {
            if reach == lowest {
                dq.clear(rows);
                return;
            }
            let (out, grad) = (self.out.row(b, t, h), self.grad.row(b, t, h));
            dots::<T>(out, grad, self.out.strides[1], p.dim, &mut delta[..rows]);
            for first in (lowest..reach).step_by(KEYS) {
                let width = KEYS.min(reach - first);
                let visible = p.visible_from(t, first);
                let at = |start| Block { start, stride: memory.stride, rows, width, visible };
                let (scores, grads) = (at(memory.scores), at(memory.grads));
                self.recompute(h, t, first, &scores, &grads);
                if let Some(softcap) = p.softcap {
                    cap(&scores, softcap);
                }
                p.hide(&scores, b, queries.clone(), first..first + width);
                p.drop_some(&grads, &seeds[..rows], first);
                slopes(&scores, &grads, lse, &delta[..rows], p.softcap);
                p.drop_some(&scores, &seeds[..rows], first);
                let add = [first > lowest, !fresh];
                self.spread(h, t, first, &scores, &grads, (&dq, dk, dv), add);
            }
            dq.finish(rows);
        }
    }

    /// Scores and gradients of probabilities, each a product over `dim`.
    ///
    /// # Safety
    /// The blocks lie in memory that the caller owns.
    unsafe fn recompute(
        &self,
        h: usize,
        t: usize,
        first: usize,
        scores: &Block<T::Sum>,
        grads: &Block<T::Sum>,
    ) {
        let (b, kv) = (self.b, self.kv);
        let size = (scores.rows, scores.width, self.p.dim);
        let scale = <T::Sum as Element>::from_f64(self.p.scale);
        let stride = scores.stride;
        // SAFETY: the views lie within the operands.
        unsafe {
            let (q, k) = (self.q.view(b, t, h), self.k.view_t(b, first, kv));
            gemm(size, scale, q, k, scores.start, stride, false, None, self.p.how());
            let (g, v) = (self.grad.view(b, t, h), self.v.view_t(b, first, kv));
            gemm(size, T::Sum::ONE, g, v, grads.start, stride, false, None, self.p.how());
        }
    }

    /// `dV += P^T dO`, `dK += scale dS^T Q`, `dQ += scale dS K`; written instead where `add`, of queries and of keys,
    /// says so.
    ///
    /// # Safety
    /// As [`recompute`](Self::recompute).
    unsafe fn spread(
        &self,
        h: usize,
        t: usize,
        first: usize,
        scores: &Block<T::Sum>,
        grads: &Block<T::Sum>,
        (dq, dk, dv): (&Sums<T>, &Sums<T>, &Sums<T>),
        add: [bool; 2],
    ) {
        let (b, kv) = (self.b, self.kv);
        let (rows, width) = (scores.rows, scores.width);
        let scale = <T::Sum as Element>::from_f64(self.p.scale);
        let wide = |block: &Block<T::Sum>| View::new(block.start.cast_const(), block.stride, 1);
        let tall = |block: &Block<T::Sum>| View::new(block.start.cast_const(), 1, block.stride);
        // SAFETY: the views lie within the operands.
        unsafe {
            let (q, g) = (self.q.view(b, t, h), self.grad.view(b, t, h));
            dv.product((first, width, rows), T::Sum::ONE, tall(scores), g, add[1]);
            dk.product((first, width, rows), scale, tall(grads), q, add[1]);
            let k = self.k.view(b, first, kv);
            dq.product((0, rows, width), scale, wide(grads), k, add[0]);
        }
    }
}
