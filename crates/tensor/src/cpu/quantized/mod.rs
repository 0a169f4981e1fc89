//! Products with matrices that are stored in a few bits a number.
//!
//! A product of many rows makes panels of the matrix, of at most a megabyte, and multiplies by each: of its rows for
//! `x w^T`, of its columns for `x w`. A product of few rows is bound by memory, so that the matrix is read once, a run at
//! a time, and multiplied in registers. How panels and runs are cut depends on the matrix alone, so results are the same
//! bits on any number of threads.

#[cfg(target_arch = "x86_64")]
mod few;
#[cfg(target_arch = "x86_64")]
mod wide;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::gemm::{self, Float, How, Operand, Output, View};
use super::parallel::{Shared, for_pieces};
use crate::autograd::Target;
use crate::dtype::{DType, Element};
use crate::kernels::args::Matrices;
use crate::memory::Buffer;
use crate::precision::MatmulPrecision;
use crate::profile::{Timer, timed};
use crate::quantized::Quantized;
use crate::real::{Kernel, Lanes, Real, Simd, dispatch};
#[cfg(target_arch = "x86_64")]
use crate::real::{Level, level};
use crate::tensor::Tensor;
use crate::with_float;

/// Numbers of a panel.
const PANEL: usize = 1 << 18;
/// Columns of a panel of columns are a multiple of this, unless it is the last: blocks of every form end there.
const COLUMNS: usize = 256;
/// Numbers that are read at a time where they are not left in memory.
const RUN: usize = 256;
/// Rows of a product up to which the matrix is read but once.
const FEW: usize = 8;
/// Numbers that one task reads.
const PIECE: usize = 1 << 15;
/// Products that are summed side by side.
const LANES: usize = 64;

/// A number that is read from a quantized matrix.
pub(super) trait Read: Output + Element {
    /// Whether sums of single precision are as exact as products of this type are.
    const SINGLE: bool = true;
    fn of(x: f32) -> Self;
    fn sum(x: f32) -> Self::Acc;
}

impl Read for f32 {
    #[inline(always)]
    fn of(x: f32) -> Self {
        x
    }

    fn sum(x: f32) -> f32 {
        x
    }
}

impl Read for f64 {
    const SINGLE: bool = false;

    #[inline(always)]
    fn of(x: f32) -> Self {
        f64::from(x)
    }

    fn sum(x: f32) -> f64 {
        f64::from(x)
    }
}

impl Read for half::bf16 {
    #[inline(always)]
    fn of(x: f32) -> Self {
        Self::narrow(x)
    }

    fn sum(x: f32) -> f32 {
        x
    }
}

/// Reads a part of rows side by side.
struct Part<'a, T> {
    weight: &'a Quantized,
    rows: Range<usize>,
    cols: Range<usize>,
    /// `[rows, cols]`.
    out: &'a mut [T],
}

impl<T: Read> Kernel for Part<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut run = [0.0; RUN];
        let width = self.cols.len();
        for (row, out) in self.rows.zip(self.out.chunks_exact_mut(width.max(1))) {
            for (first, out) in self.cols.clone().step_by(RUN).zip(out.chunks_mut(RUN)) {
                let run = &mut run[..out.len()];
                read::<S>(self.weight, row, first, run);
                for (out, x) in out.iter_mut().zip(run) {
                    *out = T::of(*x);
                }
            }
        }
    }
}

/// Whether lanes are those of registers of 512 bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn is_wide<S: Simd>() -> bool {
    std::any::TypeId::of::<S>() == std::any::TypeId::of::<crate::real::Avx512>()
}

/// Numbers of a stored row; see [`Quantized::read`].
#[inline(always)]
fn read<S: Simd>(weight: &Quantized, row: usize, first: usize, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: registers of 512 bits are there.
    if is_wide::<S>() && unsafe { wide::read(weight, row, first, out) } {
        return;
    }
    weight.read(row, first, out);
}

/// A part of the matrix, on all threads.
fn read_part<T: Read>(weight: &Quantized, rows: Range<usize>, cols: Range<usize>, out: &mut [T]) {
    let (width, to) = (cols.len(), Shared::new(out));
    for_pieces(rows.len(), (PIECE / width.max(1)).max(1), |piece| {
        // SAFETY: pieces are disjoint.
        let out = unsafe { to.slice(piece.start * width..piece.end * width) };
        let rows = rows.start + piece.start..rows.start + piece.end;
        dispatch(Part { weight, rows, cols: cols.clone(), out });
    });
}

/// All numbers as they are stored.
pub(crate) fn dequantize(weight: &Quantized, dtype: DType) -> Tensor {
    let [rows, cols] = weight.stored();
    let mut out = Tensor::uninit([rows, cols].into(), dtype);
    with_float!(dtype, "dequantize", T => {
        if rows * cols > 0 {
            read_part::<T>(weight, 0..rows, 0..cols, out.slice_mut::<T>());
        }
    });
    out
}

/// The position of the first number, as they are stored, that is NaN or infinite.
pub(crate) fn first_non_finite(weight: &Quantized) -> Option<usize> {
    let [rows, cols] = weight.stored();
    let first = AtomicUsize::new(usize::MAX);
    for_pieces(rows, (PIECE / cols.max(1)).max(1), |piece| {
        let mut numbers = vec![0.0_f32; cols];
        for row in piece {
            dispatch(Part { weight, rows: row..row + 1, cols: 0..cols, out: &mut numbers });
            if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
                first.fetch_min(row * cols + at, Relaxed);
                return;
            }
        }
    });
    let first = first.into_inner();
    (first != usize::MAX).then_some(first)
}

/// Rows `ids`, which are contiguous and within the matrix as it is stored.
pub(crate) fn take(weight: &Quantized, ids: &Tensor, dtype: DType) -> Tensor {
    let (ids, width) = (ids.slice::<i64>(), weight.stored()[1]);
    let _timer = timed("take rows", 0.0, (ids.len() * width * dtype.size()) as f64);
    let mut out = Tensor::uninit([ids.len(), width].into(), dtype);
    with_float!(dtype, "embedding", T => {
        for (id, out) in ids.iter().zip(out.slice_mut::<T>().chunks_exact_mut(width.max(1))) {
            let row = *id as usize;
            dispatch(Part { weight, rows: row..row + 1, cols: 0..width, out });
        }
    });
    out
}

/// `x w^T` of the stored matrix where `across` is false, else `x w`: a new tensor of the type of `x`.
pub(crate) fn product(
    x: &Matrices,
    weight: &Quantized,
    across: bool,
    precision: MatmulPrecision,
) -> Tensor {
    let [rows, cols] = weight.stored();
    let width = if across { cols } else { rows };
    let _timer = count(x, weight);
    let mut out = Tensor::uninit([x.rows, width].into(), x.tensor.dtype());
    with_float!(x.tensor.dtype(), "linear", T => {
        let to = out.slice_mut::<T>();
        // SAFETY: as large as the product.
        unsafe { write::<T, T, T>(x.view(0), x.rows, weight, across, to, false, precision) }
    });
    out
}

/// The product written, or added, to a gradient's memory.
pub(crate) fn product_into(
    x: &Matrices,
    weight: &Quantized,
    across: bool,
    precision: MatmulPrecision,
    target: &mut Target<'_>,
) {
    let _timer = count(x, weight);
    let (m, add) = (x.rows, target.accumulate);
    // SAFETY: a gradient has the size of what it is the gradient of.
    unsafe {
        match (x.tensor.dtype(), target.dtype) {
            (DType::F32, DType::F32) => {
                let to = target.slice();
                write::<f32, f32, f32>(x.view(0), m, weight, across, to, add, precision);
            }
            (DType::F64, DType::F64) => {
                let to = target.slice();
                write::<f64, f64, f64>(x.view(0), m, weight, across, to, add, precision);
            }
            (DType::BF16, DType::F32) => {
                let to = target.slice();
                write::<half::bf16, half::bf16, f32>(
                    x.view(0),
                    m,
                    weight,
                    across,
                    to,
                    add,
                    precision,
                );
            }
            (DType::BF16, DType::BF16) => {
                let to = target.slice();
                write::<half::bf16, half::bf16, half::bf16>(
                    x.view(0),
                    m,
                    weight,
                    across,
                    to,
                    add,
                    precision,
                );
            }
            (from, to) => panic!("linear: no product of {from} into {to}"),
        }
    }
}

/// Counts a product towards the profile.
fn count(x: &Matrices, weight: &Quantized) -> Timer {
    let [rows, cols] = weight.stored();
    let moved = weight.size() + x.rows * (rows + cols) * x.tensor.dtype().size();
    timed("matmul", 2.0 * x.rows as f64 * (rows * cols) as f64, moved as f64)
}

/// The product of `x` `[m, ..]` with the matrix read as `W`, to `to`.
///
/// # Safety
/// `x` is valid for reads of the product's size.
pub(super) unsafe fn write<X, W, C>(
    x: View<X>,
    m: usize,
    weight: &Quantized,
    across: bool,
    to: &mut [C],
    accumulate: bool,
    precision: MatmulPrecision,
) where
    X: Operand,
    W: Read + Operand<Acc = X::Acc>,
    C: Output<Acc = X::Acc>,
{
    let [rows, cols] = weight.stored();
    let (k, n) = if across { (rows, cols) } else { (cols, rows) };
    assert!(to.len() == m * n, "linear: a result of another size");
    if m == 0 || n == 0 {
        return;
    }
    if !across && m <= FEW && W::SINGLE {
        // SAFETY: the caller's promise.
        unsafe { dots::<X, W, C>(x, m, weight, to, accumulate) };
        return;
    }
    let (columns, all) = if across { (COLUMNS, rows) } else { (1, cols) };
    let width = (PANEL / all.max(1) / columns).max(1) * columns;
    // Of like sizes.
    let width = n.div_ceil(n.div_ceil(width)).next_multiple_of(columns);
    let mut panel = Buffer::uninit(width.min(n) * k * size_of::<W>());
    let (to, how) = (Shared::new(to), How::parallel(precision));
    for first in (0..n).step_by(width) {
        let part = first..n.min(first + width);
        let panel = &mut panel.as_slice_mut::<W>()[..part.len() * k];
        let view = if across {
            read_part(weight, 0..rows, part.clone(), panel);
            View::new(panel.as_ptr(), part.len(), 1)
        } else {
            read_part(weight, part.clone(), 0..cols, panel);
            View::new(panel.as_ptr(), 1, cols)
        };
        // SAFETY: the caller's promise; the panel has this size, and panels have their own columns of the result.
        unsafe {
            let (c, size) = (to.at(first), (m, part.len(), k));
            gemm::gemm(size, X::Acc::ONE, x, view, c, n, accumulate, None, how);
        }
    }
}

/// `x w^T` of few rows.
///
/// # Safety
/// As [`write`].
unsafe fn dots<X, W, C>(x: View<X>, m: usize, weight: &Quantized, to: &mut [C], accumulate: bool)
where
    X: Operand,
    W: Read + Operand<Acc = X::Acc>,
    C: Output<Acc = X::Acc>,
{
    let [rows, cols] = weight.stored();
    // Filled up with zeros, so that every run is whole.
    let stride = cols.next_multiple_of(LANES);
    let mut wide = vec![0.0_f32; m * stride];
    for (i, wide) in wide.chunks_exact_mut(stride.max(1)).enumerate() {
        for (p, wide) in wide.iter_mut().enumerate().take(cols) {
            // SAFETY: the caller's promise.
            *wide = unsafe { *x.at(i, p) }.widen().to_f32();
        }
    }
    #[cfg(target_arch = "x86_64")]
    let prepared = match level() {
        Level::Avx512 => few::Rows::new(weight, &wide, m, stride),
        _ => None,
    };
    let to = Shared::new(to);
    for_pieces(rows, (PIECE / cols.max(1)).max(1), |rows_of| {
        let mut sums = [[0.0; FEW]; 64];
        for first in rows_of.clone().step_by(64) {
            let block = first..rows_of.end.min(first + 64);
            let sums = &mut sums[..block.len()];
            let dots = Dots {
                weight,
                first,
                x: &wide,
                stride,
                m,
                sums,
                #[cfg(target_arch = "x86_64")]
                prepared: prepared.as_ref(),
            };
            dispatch(dots);
            for (row, sums) in block.zip(sums) {
                for (i, sum) in sums[..m].iter().enumerate() {
                    // SAFETY: each element of the result is written by one task.
                    unsafe {
                        let to = to.at(i * rows + row);
                        let sum = W::sum(*sum);
                        *to = C::narrow(if accumulate { sum + (*to).widen() } else { sum });
                    }
                }
            }
        }
    });
}

/// The products of some rows of the matrix with all of `x`.
struct Dots<'a> {
    weight: &'a Quantized,
    first: usize,
    /// `[m, stride]`.
    x: &'a [f32],
    stride: usize,
    m: usize,
    sums: &'a mut [[f32; FEW]],
    #[cfg(target_arch = "x86_64")]
    prepared: Option<&'a few::Rows>,
}

impl Kernel for Dots<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        #[cfg(target_arch = "x86_64")]
        if is_wide::<S>()
            && let Some(rows) = self.prepared
        {
            // SAFETY: registers of 512 bits are there, and rows of the matrix.
            unsafe { rows.dots(self.weight, self.first, self.sums) };
            return;
        }
        let [_, cols] = self.weight.stored();
        let mut run = [0.0; RUN];
        for (row, sums) in (self.first..).zip(self.sums) {
            let mut lanes = [[0.0; LANES]; FEW];
            for first in (0..cols).step_by(RUN) {
                let count = RUN.min(cols - first);
                read::<S>(self.weight, row, first, &mut run[..count]);
                let whole = count.next_multiple_of(LANES);
                run[count..whole].fill(0.0);
                for (i, lanes) in lanes.iter_mut().enumerate().take(self.m) {
                    let x = &self.x[i * self.stride + first..][..whole];
                    for (w, x) in run[..whole].as_chunks::<LANES>().0.iter().zip(x.as_chunks().0) {
                        multiply_add::<S>(w, x, lanes);
                    }
                }
            }
            for (sum, lanes) in sums.iter_mut().zip(&lanes).take(self.m) {
                *sum = total(lanes);
            }
        }
    }
}

/// `sums += a * b`.
#[inline(always)]
fn multiply_add<S: Simd>(a: &[f32; LANES], b: &[f32; LANES], sums: &mut [f32; LANES]) {
    for first in (0..LANES).step_by(S::F32::LANES) {
        // SAFETY: registers divide the arrays.
        unsafe {
            let [a, b] = [a, b].map(|x| S::F32::load(x.as_ptr().add(first)));
            let to = sums.as_mut_ptr().add(first);
            a.mul_add(b, S::F32::load(to)).store(to);
        }
    }
}

/// The sum of all lanes, in an order that no instruction set changes.
#[inline(always)]
fn total(lanes: &[f32; LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}
