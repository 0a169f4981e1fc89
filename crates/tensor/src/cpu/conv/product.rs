//! Convolutions as products of the weight with pieces of the matrix of columns.

use super::blocks::{Blocks, Piece};
use super::columns::{Columns, Gather, Scatter};
use super::fill;
use super::plane::Plane;
use crate::autograd::Target;
use crate::cpu::gemm::{Float, How, View, gemm};
use crate::cpu::parallel::{Shared, for_pieces};
use crate::cpu::scratch::{Scratch, padded};
use crate::kernels::args::Convolution;
use crate::real::{Stored, dispatch};
use crate::tensor::Tensor;

/// The number types of these kernels.
pub(super) trait Number: Float + Stored {}
impl Number for f32 {}
impl Number for f64 {}

/// Elements between rows of columns beyond their length: spreads them over the cache's sets.
const ROW_GAP: usize = 16;

/// What all tasks of a convolution share.
struct Work<'a> {
    conv: &'a Convolution,
    blocks: Blocks,
    /// From a row of columns, or of gathered results, to the next.
    row: usize,
    /// Elements of the largest plane.
    plane: usize,
    how: How,
}

impl<'a> Work<'a> {
    /// For so many tasks as `tasks` says: few of them share the products' threads instead.
    fn new(conv: &'a Convolution, tasks: impl FnOnce(&Blocks) -> usize) -> Self {
        let blocks = Blocks::new(conv);
        let few = tasks(&blocks) < rayon::current_num_threads();
        let how = if few { How::parallel(conv.precision) } else { How::serial(conv.precision) };
        let first = blocks.piece(0, 0);
        let plane = Plane::new(conv, 0, first.rows.len()).count();
        Self { conv, row: blocks.places(conv) + ROW_GAP, blocks, plane, how }
    }

    /// Memory for a task: columns of a block of channels, a plane, and `matrix` rows of results.
    fn scratch<T: Stored>(&self, matrix: usize) -> (Scratch, [*mut T; 3]) {
        let columns = if self.blocks.direct { 0 } else { self.blocks.channels * self.conv.taps() };
        let matrix = if self.blocks.images == 1 { 0 } else { matrix };
        let counts = [columns * self.row, self.plane, matrix * self.row];
        let mut scratch = Scratch::take(counts.map(padded::<T>).iter().sum());
        let parts = counts.map(|count| scratch.part::<T>(count));
        (scratch, parts)
    }

    /// The place of a channel's first row of a piece in `[batch, channels, ..]` of the output's size.
    fn place(&self, piece: &Piece, channels: usize, channel: usize) -> usize {
        let first = (piece.images.start * channels + channel) * self.conv.places();
        first + piece.rows.start * self.conv.out[1]
    }

    /// Places of a piece.
    fn places(&self, piece: &Piece) -> usize {
        piece.images.len() * piece.rows.len() * self.conv.out[1]
    }

    /// Moves between `matrix` `[channels, place]` of a piece of several images, and these images'
    /// channels from `first` on in `y`.
    ///
    /// # Safety
    /// Both have room, and nobody else uses them.
    unsafe fn each_image<T>(
        &self,
        piece: &Piece,
        (y, first): (*mut T, usize),
        matrix: *mut T,
        copy: impl Fn(*mut T, *mut T, usize),
    ) {
        let places = self.conv.places();
        for (i, image) in piece.images.clone().enumerate() {
            for channel in 0..self.conv.group_outputs() {
                let at = (image * self.conv.outputs + first + channel) * places;
                // SAFETY: the caller's promise.
                unsafe { copy(y.add(at), matrix.add(channel * self.row + i * places), places) }
            }
        }
    }

    /// The columns of a block of channels: where they are, and from a row to the next.
    ///
    /// # Safety
    /// `x` is the whole input; `columns` and `plane` are a task's own.
    unsafe fn columns<T: Number>(
        &self,
        x: *const T,
        piece: &Piece,
        (channel, channels): (usize, usize),
        [columns, plane]: [*mut T; 2],
    ) -> (*const T, usize) {
        if self.blocks.direct {
            let at = self.place(piece, self.conv.inputs, channel);
            return (x.wrapping_add(at), self.conv.places());
        }
        let x = x.wrapping_add(channel * self.conv.pixels()).cast_mut();
        let (conv, row) = (self.conv, self.row);
        dispatch(Gather(Columns { conv, piece, x, channels, columns, row, plane }));
        (columns, row)
    }

    /// The gradient of a piece of a group as a matrix `[channels, place]`, and from a row to the next.
    ///
    /// # Safety
    /// `grad` is the whole gradient; `matrix` is a task's own.
    unsafe fn gradient<T: Number>(
        &self,
        grad: *const T,
        piece: &Piece,
        group: usize,
        matrix: *mut T,
    ) -> (*const T, usize) {
        let first = group * self.conv.group_outputs();
        if self.blocks.images == 1 {
            let at = self.place(piece, self.conv.outputs, first);
            return (grad.wrapping_add(at), self.conv.places());
        }
        // SAFETY: the caller's promise; the gradient is only read.
        unsafe {
            self.each_image(piece, (grad.cast_mut(), first), matrix, |from, to, n| {
                std::ptr::copy_nonoverlapping(from, to, n);
            });
        }
        (matrix, self.row)
    }
}

pub(super) fn forward<T: Number>(
    conv: &Convolution,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    out: &mut Tensor,
) {
    let tasks = |blocks: &Blocks| conv.groups * blocks.image_blocks() * blocks.row_pieces();
    let work = Work::new(conv, tasks);
    let (blocks, outputs) = (work.blocks, conv.group_outputs());
    let (x, w) = (Shared::from_ptr(x.ptr::<T>().cast_mut()), w.slice::<T>());
    let depth = conv.group_inputs() * conv.taps();
    let to = Shared::new(out.slice_mut::<T>());
    for_pieces(tasks(&blocks), 1, |task| {
        let (group, piece) = (task.start % conv.groups, task.start / conv.groups);
        let piece = blocks.piece(piece / blocks.row_pieces(), piece % blocks.row_pieces());
        let (_scratch, [columns, plane, matrix]) = work.scratch::<T>(outputs);
        let (first, n) = (group * outputs, work.places(&piece));
        // SAFETY: tasks write disjoint parts of `out`; the scratch has room for the largest piece, and
        // all else is within the tensors.
        unsafe {
            let (c, ldc) = if blocks.images == 1 {
                (to.at(work.place(&piece, conv.outputs, first)), conv.places())
            } else {
                (matrix, work.row)
            };
            for o in 0..outputs {
                fill(std::slice::from_raw_parts_mut(c.add(o * ldc), n), bias, first + o);
            }
            for block in 0..blocks.channel_blocks(conv) {
                let block = blocks.block(conv, block);
                let k = block.len() * conv.taps();
                let channels = (group * conv.group_inputs() + block.start, block.len());
                let (b, ldb) = work.columns(x.at(0), &piece, channels, [columns, plane]);
                let a = w.as_ptr().add(first * depth + block.start * conv.taps());
                let (a, b) = (View::new(a, depth, 1), View::new(b, ldb, 1));
                gemm((outputs, n, k), T::ONE, a, b, c, ldc, true, None, work.how);
            }
            if blocks.images > 1 {
                work.each_image(&piece, (to.at(0), first), matrix, |to, from, n| {
                    std::ptr::copy_nonoverlapping(from, to, n);
                });
            }
        }
    });
}

pub(super) fn input_gradient<T: Number>(
    conv: &Convolution,
    grad: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    dx: &mut Tensor,
) {
    let tasks = |blocks: &Blocks| conv.groups * blocks.image_blocks() * blocks.channel_blocks(conv);
    let work = Work::new(conv, tasks);
    let (blocks, outputs) = (work.blocks, conv.group_outputs());
    let channel_blocks = blocks.channel_blocks(conv);
    let (grad, w) = (Shared::from_ptr(grad.ptr::<T>().cast_mut()), w.slice::<T>());
    let depth = conv.group_inputs() * conv.taps();
    let to = Shared::new(dx.slice_mut::<T>());
    for_pieces(tasks(&blocks), 1, |task| {
        let (group, rest) = (task.start % conv.groups, task.start / conv.groups);
        let (images, block) = (rest / channel_blocks, rest % channel_blocks);
        let block = blocks.block(conv, block);
        let channel = group * conv.group_inputs() + block.start;
        let k = block.len() * conv.taps();
        let (_scratch, [columns, plane, matrix]) = work.scratch::<T>(outputs);
        // SAFETY: tasks write the channels of their images; the scratch has room for the largest
        // piece, and all else is within the tensors.
        unsafe {
            for image in blocks.piece(images, 0).images {
                for c in channel..channel + block.len() {
                    let at = (image * conv.inputs + c) * conv.pixels();
                    fill(to.slice(at..at + conv.pixels()), bias, c);
                }
            }
            let a = w.as_ptr().add(group * outputs * depth + block.start * conv.taps());
            let a = View::new(a, 1, depth);
            for piece in 0..blocks.row_pieces() {
                let piece = blocks.piece(images, piece);
                let n = work.places(&piece);
                let (b, ldb) = work.gradient(grad.at(0), &piece, group, matrix);
                let b = View::new(b, ldb, 1);
                if blocks.direct {
                    let c = to.at(work.place(&piece, conv.inputs, channel));
                    gemm((k, n, outputs), T::ONE, a, b, c, conv.places(), true, None, work.how);
                    continue;
                }
                gemm((k, n, outputs), T::ONE, a, b, columns, work.row, false, None, work.how);
                let (x, channels) = (to.at(channel * conv.pixels()), block.len());
                let (piece, row) = (&piece, work.row);
                dispatch(Scatter(Columns { conv, piece, x, channels, columns, row, plane }));
            }
        }
    });
}

pub(super) fn weight_gradient<T: Number>(
    conv: &Convolution,
    grad: &Tensor,
    x: &Tensor,
    target: &mut Target<'_>,
) {
    let tasks = |b: &Blocks| conv.groups * b.channel_blocks(conv) * b.parts(conv);
    let work = Work::new(conv, tasks);
    let (blocks, outputs) = (work.blocks, conv.group_outputs());
    let channel_blocks = blocks.channel_blocks(conv);
    let parts = blocks.parts(conv);
    let [grad, x] = [grad, x].map(|t| Shared::from_ptr(t.ptr::<T>().cast_mut()));
    let depth = conv.group_inputs() * conv.taps();
    // The weight's gradient transposed: the gradient of the output is then what is packed, once for a
    // block of columns that is read where it lies.
    let mut sums = Tensor::uninit([parts, conv.groups, depth, outputs].into(), T::DTYPE);
    let to = Shared::new(sums.slice_mut::<T>());
    for_pieces(tasks(&blocks), 1, |task| {
        let (group, rest) = (task.start % conv.groups, task.start / conv.groups);
        let (part, block) = (rest / channel_blocks, rest % channel_blocks);
        let block = blocks.block(conv, block);
        let k = block.len() * conv.taps();
        let channels = (group * conv.group_inputs() + block.start, block.len());
        let (_scratch, [columns, plane, matrix]) = work.scratch::<T>(outputs);
        let share = |part: usize| part * blocks.image_blocks() / parts;
        // SAFETY: tasks write disjoint rows of the sums; the scratch has room for the largest piece,
        // and all else is within the tensors.
        unsafe {
            let row = (part * conv.groups + group) * depth + block.start * conv.taps();
            let c = to.at(row * outputs);
            let mut accumulate = false;
            for images in share(part)..share(part + 1) {
                for piece in 0..blocks.row_pieces() {
                    let piece = blocks.piece(images, piece);
                    let n = work.places(&piece);
                    let (a, lda) = work.columns(x.at(0), &piece, channels, [columns, plane]);
                    let (b, ldb) = work.gradient(grad.at(0), &piece, group, matrix);
                    let (a, b) = (View::new(a, lda, 1), View::new(b, 1, ldb));
                    let size = (k, outputs, n);
                    gemm(size, T::ONE, a, b, c, outputs, accumulate, None, work.how);
                    accumulate = true;
                }
            }
        }
    });
    add_transposed::<T>(&sums, [parts, conv.groups, depth, outputs], target);
}

/// `target[group, output, row] (+)= sum over parts of sums[part, group, row, output]`.
fn add_transposed<T: Number>(
    sums: &Tensor,
    [parts, groups, depth, outputs]: [usize; 4],
    target: &mut Target<'_>,
) {
    /// Outputs taken at a time: a cache line of the sums.
    const LINE: usize = 16;
    let (accumulate, sums) = (target.accumulate, sums.slice::<T>());
    let to = Shared::new(target.slice::<T>());
    let lines = outputs.div_ceil(LINE);
    for_pieces(groups * lines, 1, |task| {
        let (group, line) = (task.start / lines, task.start % lines);
        let chosen = line * LINE..outputs.min((line + 1) * LINE);
        for row in 0..depth {
            for o in chosen.clone() {
                let part =
                    |part: usize| sums[((part * groups + group) * depth + row) * outputs + o];
                let sum = (1..parts).fold(part(0), |sum, i| sum + part(i));
                // SAFETY: tasks write the rows of different outputs.
                unsafe {
                    let to = to.at((group * outputs + o) * depth + row);
                    *to = if accumulate { *to + sum } else { sum };
                }
            }
        }
    });
}
