//! The forward pass: tasks are blocks of queries of one head.

use super::rows::{Block, Running, cap, exponentials, scaled};
use super::{Heads, KEYS, Number};
use crate::cpu::gemm::{Float, View, gemm};
use crate::cpu::parallel::{Shared, for_pieces};
use crate::cpu::scratch::{Scratch, padded};
use crate::dtype::DType;
use crate::kernels::args::Problem;
use crate::profile::timed;
use crate::tensor::Tensor;
use crate::with_float;

/// Queries in a block.
const QUERIES: usize = 56;

/// The output `[batch, time, heads, dim]`, and the logarithm of the sum of exponentials of each
/// query, `[batch, heads, time]` in `f64`: infinite where a query sees no key.
pub(crate) fn forward(p: &Problem, q: &Tensor, k: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
    let _timer = timed("attention", p.flops(2), p.bytes(2, 2, q.dtype().size()));
    let width = p.heads * p.dim;
    let mut out = Tensor::uninit([p.batch, p.time, p.heads, p.dim].into(), q.dtype());
    let mut lse = Tensor::uninit([p.batch, p.heads, p.time].into(), DType::F64);
    let blocks = p.time.div_ceil(QUERIES);
    with_float!(q.dtype(), "attention", T => {
        let (q, k, v) = (Heads::<T>::of(q), Heads::<T>::of(k), Heads::<T>::of(v));
        let out = Heads::<T>::within(&mut out, p.time, width, p.dim, 0);
        let lse = Shared::new(lse.slice_mut::<f64>());
        for_pieces(p.batch * p.heads * blocks, 1, |task| {
            let (head, block) = (task.start / blocks, task.start % blocks);
            let first = block * QUERIES;
            let queries = first..p.time.min(first + QUERIES);
            // SAFETY: each task writes its own rows of its own head.
            unsafe {
                let lse = lse.slice(head * p.time + queries.start..head * p.time + queries.end);
                let task = Task { p, q, k, v, b: head / p.heads, h: head % p.heads };
                task.run(queries, out, lse);
            }
        });
    });
    (out, lse)
}

/// One head of one sequence.
struct Task<'a, T> {
    p: &'a Problem,
    q: Heads<T>,
    k: Heads<T>,
    v: Heads<T>,
    b: usize,
    h: usize,
}

impl<T: Number> Task<'_, T> {
    /// # Safety
    /// The operands are as the problem says, and nobody else touches these rows of the results.
    unsafe fn run(&self, queries: std::ops::Range<usize>, out: Heads<T>, lse: &mut [f64]) {
        let (p, b, h) = (self.p, self.b, self.h);
        let (rows, t) = (queries.len(), queries.start);
        let (lowest, reach) = (p.first(b, t), p.visible(queries.end - 1));
        let stride = Block::<T::Sum>::stride((reach - lowest).min(KEYS));
        let bytes = padded::<T::Sum>(QUERIES * stride)
            + padded::<T::Sum>(QUERIES * p.dim)
            + 3 * padded::<f64>(QUERIES);
        let mut scratch = Scratch::take(bytes);
        let start = scratch.part::<T::Sum>(rows * stride);
        let sums = scratch.part::<T::Sum>(rows * p.dim);
        // SAFETY: parts of the scratch memory are this task's alone, and long enough.
        unsafe {
            let max = std::slice::from_raw_parts_mut(scratch.part::<f64>(rows), rows);
            let sum = std::slice::from_raw_parts_mut(scratch.part::<f64>(rows), rows);
            let mut seeds = [0; QUERIES];
            p.seed(b, h, t, &mut seeds[..rows]);
            for first in (lowest..reach).step_by(KEYS) {
                let width = KEYS.min(reach - first);
                let visible = p.visible_from(t, first);
                let block = Block { start, stride, rows, width, visible };
                self.score(&block, t, first);
                if let Some(softcap) = p.softcap {
                    cap(&block, softcap);
                }
                p.hide(&block, b, queries.clone(), first..first + width);
                exponentials(&block, Running { max, sum }, sums, p.dim, first == lowest);
                p.drop_some(&block, &seeds[..rows], first);
                self.add_values(&block, first, sums, first > lowest);
            }
            if reach == lowest {
                sum.fill(0.0);
                sums.cast::<u8>().write_bytes(0, rows * p.dim * size_of::<T::Sum>());
            }
            for ((lse, max), sum) in lse.iter_mut().zip(max).zip(sum.iter_mut()) {
                (*lse, *sum) =
                    if *sum == 0.0 { (f64::INFINITY, 0.0) } else { (*max + sum.ln(), sum.recip()) };
            }
            scaled::<T>(sums.cast(), sum, p.dim, out.row(b, t, h), out.strides[1]);
        }
    }

    /// `scale Q K^T`.
    ///
    /// # Safety
    /// The block lies in memory that the caller owns.
    unsafe fn score(&self, block: &Block<T::Sum>, t: usize, first: usize) {
        let p = self.p;
        let kv = self.h / (p.heads / p.kv_heads);
        let size = (block.rows, block.width, p.dim);
        let alpha = <T::Sum as crate::dtype::Element>::from_f64(p.scale);
        let (q, k) = (self.q.view(self.b, t, self.h), self.k.view_t(self.b, first, kv));
        // SAFETY: the views lie within the operands.
        unsafe { gemm(size, alpha, q, k, block.start, block.stride, false, None, p.how()) }
    }

    /// Writes the block's values, weighted, to `sums`, or adds them.
    ///
    /// # Safety
    /// As [`score`](Self::score), and `sums` has a row of `dim` for each of the block's.
    unsafe fn add_values(&self, block: &Block<T::Sum>, first: usize, sums: *mut T::Sum, add: bool) {
        let p = self.p;
        let kv = self.h / (p.heads / p.kv_heads);
        let size = (block.rows, p.dim, block.width);
        let weights = View::new(block.start.cast_const(), block.stride, 1);
        let values = self.v.view(self.b, first, kv);
        // SAFETY: the views lie within the operands.
        unsafe {
            gemm(size, T::Sum::ONE, weights, values, sums, p.dim, add, None, p.how());
        }
    }
}
