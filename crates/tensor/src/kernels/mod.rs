//! The kernels under the operations: one line for each, and the only place that chooses which
//! processor runs it.
//!
//! Nothing above knows of a processor: operations, tensors, parameters and the backward pass call
//! the functions named here, with tensors, targets and what [`args`] holds. A kernel that only the
//! processor's cores have serves every device: it reads and writes the host's copies of buffers.

pub(crate) mod args;
pub(crate) mod walk;

use crate::cuda::{self, falls_back};
use crate::tensor::Tensor;

pub(crate) mod attention {
    use super::args::{Problem, Saved};
    use super::{Tensor, cuda, falls_back};
    use crate::cpu::attention as cores;
    use crate::cuda::attention as gpus;

    pub(crate) fn forward(p: &Problem, q: &Tensor, k: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
        match cuda::of(&[q, k, v]) {
            Some(gpu) if gpus::serves(p) => gpus::forward(gpu, p, q, k, v),
            _ => {
                let _timer = falls_back("attention", &[q, k, v]);
                cores::forward(p, q, k, v)
            }
        }
    }
    pub(crate) fn backward(p: &Problem, saved: &Saved, grad: &Tensor) -> [Tensor; 3] {
        match cuda::of(&[&saved.q, &saved.k, grad]) {
            Some(gpu) if gpus::serves(p) => gpus::backward(gpu, p, saved, grad),
            _ => {
                let _timer = falls_back("attention", &[&saved.q, grad]);
                cores::backward(p, saved, grad)
            }
        }
    }
    pub(crate) fn backward_packed(p: &Problem, saved: &Saved, grad: &Tensor) -> Tensor {
        match cuda::of(&[&saved.q, &saved.k, grad]) {
            Some(gpu) if gpus::serves(p) => gpus::backward_packed(gpu, p, saved, grad),
            _ => {
                let _timer = falls_back("attention", &[&saved.q, grad]);
                cores::backward_packed(p, saved, grad)
            }
        }
    }
}
pub(crate) mod conv {
    use super::args::Convolution;
    use super::{Tensor, falls_back};
    use crate::autograd::Target;
    use crate::cpu::conv as cores;

    pub(crate) fn forward(
        conv: &Convolution,
        x: &Tensor,
        w: &Tensor,
        bias: Option<&Tensor>,
    ) -> Tensor {
        let _timer = falls_back("conv2d", &[x, w]);
        cores::forward(conv, x, w, bias)
    }
    pub(crate) fn input_gradient(
        conv: &Convolution,
        grad: &Tensor,
        w: &Tensor,
        bias: Option<&Tensor>,
    ) -> Tensor {
        let _timer = falls_back("conv2d", &[grad, w]);
        cores::input_gradient(conv, grad, w, bias)
    }
    pub(crate) fn weight_gradient(
        conv: &Convolution,
        grad: &Tensor,
        x: &Tensor,
        target: &mut Target<'_>,
    ) {
        let _timer = falls_back("conv2d", &[grad, x]);
        cores::weight_gradient(conv, grad, x, target);
    }
}
pub(crate) mod copy {
    use super::{Tensor, cuda, falls_back};
    use crate::autograd::Target;
    use crate::cpu::copy as cores;
    use crate::cuda::copy as gpus;
    use crate::dtype::DType;
    use crate::shape::{Layout, Shape};

    pub(crate) fn contiguous(tensor: &Tensor) -> Tensor {
        match cuda::of(&[tensor]) {
            Some(gpu) => gpus::contiguous(gpu, tensor),
            None => cores::contiguous(tensor),
        }
    }
    pub(crate) fn embed(part: &Tensor, shape: Shape, axis: usize, start: usize) -> Tensor {
        match cuda::of(&[part]) {
            Some(gpu) => gpus::embed(gpu, part, shape, axis, start),
            None => cores::embed(part, shape, axis, start),
        }
    }
    pub(crate) fn place(to: &mut Tensor, layout: Layout, from: &Tensor) {
        match cuda::of(&[from, to]) {
            Some(gpu) => gpus::place(gpu, to, layout, from),
            None => cores::place(to, layout, from),
        }
    }
    pub(crate) fn accumulate(grad: &Tensor, target: &mut Target<'_>) {
        match cuda::of(&[grad]).or_else(|| target.gpu()) {
            Some(gpu) => gpus::accumulate(gpu, grad, target),
            None => cores::accumulate(grad, target),
        }
    }
    pub(crate) fn convert(tensor: &Tensor, dtype: DType) -> Tensor {
        match cuda::of(&[tensor]) {
            Some(gpu) if gpus::converts(tensor.dtype(), dtype) => gpus::convert(gpu, tensor, dtype),
            _ => {
                let _timer = falls_back("conversion to integers", &[tensor]);
                cores::convert(tensor, dtype)
            }
        }
    }
}
pub(crate) mod cross_entropy {
    use super::args::{Head, HeadLoss, Rows};
    use super::{Tensor, cuda, falls_back};
    use crate::cpu::{cross_entropy as cores, cross_entropy_linear as linear};
    use crate::cuda::{copy, rows};
    use crate::quantized::Weight;

    pub(crate) use crate::cpu::cross_entropy_linear::head_bytes;

    pub(crate) fn losses(asked: &Rows<'_>) -> (Tensor, Tensor) {
        match cuda::of(&[asked.logits]) {
            Some(gpu) if asked.terms.on_gpu() => rows::losses(gpu, asked),
            _ => {
                let _timer = falls_back("cross_entropy with such terms", &[asked.logits]);
                cores::losses(asked)
            }
        }
    }
    pub(crate) fn slopes(asked: &Rows<'_>, found: &Tensor, grad: &Tensor) -> Tensor {
        match cuda::of(&[asked.logits]) {
            Some(gpu) if asked.terms.on_gpu() => rows::slopes(gpu, asked, found, grad),
            _ => {
                let _timer = falls_back("cross_entropy with such terms", &[asked.logits]);
                cores::slopes(asked, found, grad)
            }
        }
    }
    pub(crate) fn head(head: &Head<'_>, slope_hidden: bool, slope_weight: bool) -> HeadLoss {
        let mut operands = vec![head.hidden];
        if let Weight::Dense(weight) = head.weight {
            operands.push(weight);
        }
        match cuda::of(&operands) {
            Some(gpu) if rows::serves_head(head) => {
                rows::head(gpu, head, slope_hidden, slope_weight)
            }
            _ => {
                let _timer = falls_back("linear_cross_entropy with such terms", &operands);
                linear::head(head, slope_hidden, slope_weight)
            }
        }
    }
    pub(crate) fn multiply(tensor: &mut Tensor, factor: &Tensor) {
        match cuda::of(&[tensor]) {
            Some(gpu) => copy::multiply(gpu, tensor, factor),
            None => linear::multiply(tensor, factor),
        }
    }
}
pub(crate) mod dropout {
    use super::{Tensor, cuda};
    use crate::random::Key;

    pub(crate) fn dropout(x: &Tensor, p: f64, key: Key) -> Tensor {
        match cuda::of(&[x]) {
            Some(gpu) => cuda::index::dropout(gpu, x, p, key),
            None => crate::cpu::dropout::dropout(x, p, key),
        }
    }
}
pub(crate) mod finite {
    use super::{Tensor, cuda};

    pub(crate) fn first_non_finite(x: &Tensor) -> Option<usize> {
        match cuda::of(&[x]) {
            Some(gpu) => cuda::reduce::first_non_finite(gpu, x),
            None => crate::cpu::finite::first_non_finite(x),
        }
    }
}
pub(crate) mod index {
    use super::args::AddedRows;
    use super::{Tensor, cuda, falls_back};
    use crate::autograd::Target;

    pub(crate) use crate::cpu::index::checked;

    pub(crate) fn take(x: &Tensor, dims: [usize; 3], ids: &Tensor) -> Tensor {
        match cuda::of(&[x]) {
            Some(gpu) => cuda::index::take(gpu, x, dims, ids),
            None => crate::cpu::index::take(x, dims, ids),
        }
    }
    pub(crate) fn add_taken(
        added: AddedRows<'_>,
        dims: [usize; 3],
        ids: &Tensor,
        target: &mut Target<'_>,
    ) {
        match added {
            AddedRows::Each(rows) => {
                if let Some(gpu) = cuda::of(&[rows]).or_else(|| target.gpu()) {
                    return cuda::index::add_taken(gpu, rows, dims, ids, target);
                }
                crate::cpu::index::add_taken(added, dims, ids, target);
            }
            AddedRows::Times { rows, factors } => {
                let _timer = falls_back("gradient of products with rows", &[rows, factors]);
                crate::cpu::index::add_taken(added, dims, ids, target);
            }
        }
    }
}
pub(crate) mod lines {
    use super::{Tensor, falls_back};
    use crate::autograd::Target;
    use crate::cpu::lines as cores;
    use crate::dtype::Element;
    use crate::shape::Shape;

    #[track_caller]
    pub(crate) fn zip<A: Element, B: Element, C: Element>(
        name: &'static str,
        a: &Tensor,
        b: &Tensor,
        f: impl Fn(A, B) -> C + Sync + Send,
    ) -> Tensor {
        let _timer = falls_back(name, &[a, b]);
        cores::zip(name, a, b, f)
    }
    #[track_caller]
    pub(crate) fn select(mask: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
        let _timer = falls_back("select", &[mask, a, b]);
        cores::select(mask, a, b)
    }
    pub(crate) fn gather(x: &Tensor, axis: usize, ids: &Tensor, shape: Shape) -> Tensor {
        let _timer = falls_back("gather", &[x, ids]);
        cores::gather(x, axis, ids, shape)
    }
    pub(crate) fn scatter_add(
        target: &mut Target<'_>,
        whole: Shape,
        axis: usize,
        ids: &Tensor,
        src: &Tensor,
    ) {
        let _timer = falls_back("scatter_add", &[src]);
        cores::scatter_add(target, whole, axis, ids, src);
    }
    pub(crate) fn first_best<T: Element>(
        x: &Tensor,
        dims: [usize; 3],
        better: impl Fn(T, T) -> bool + Sync + Send,
    ) -> Tensor {
        let _timer = falls_back("extremum", &[x]);
        cores::first_best(x, dims, better)
    }
}
pub(crate) mod map {
    use super::args::{Formula, Pair};
    use super::{Tensor, cuda};
    use crate::cuda::elementwise as gpus;

    #[track_caller]
    pub(crate) fn map<const N: usize, F: Formula<N>>(
        name: &'static str,
        operands: [&Tensor; N],
        formula: F,
    ) -> Tensor {
        match cuda::of(&operands) {
            Some(gpu) => gpus::map(gpu, name, operands, formula),
            None => crate::cpu::map::map(name, operands, formula),
        }
    }
    pub(crate) fn map_pair<const N: usize, F: Pair<N>>(
        name: &'static str,
        operands: [&Tensor; N],
        formula: F,
    ) -> [Tensor; 2] {
        match cuda::of(&operands) {
            Some(gpu) => gpus::map_pair(gpu, name, operands, formula),
            None => crate::cpu::pair::map_pair(name, operands, formula),
        }
    }
}
pub(crate) mod matmul {
    use super::args::Matrices;
    use super::{Tensor, cuda};
    use crate::autograd::Target;
    use crate::cpu::matmul as cores;
    use crate::cuda::product as gpus;
    use crate::precision::MatmulPrecision;

    pub use crate::cpu::gemm::{Bf16Kernel, bf16_kernel, check_bf16_kernel};

    pub(crate) fn products(a: &Matrices, b: &Matrices, precision: MatmulPrecision) -> Tensor {
        match cuda::of(&[&a.tensor, &b.tensor]) {
            Some(gpu) => gpus::products(gpu, a, b, precision),
            None => cores::products(a, b, precision),
        }
    }
    pub(crate) fn products_into(
        a: &Matrices,
        b: &Matrices,
        precision: MatmulPrecision,
        target: &mut Target<'_>,
    ) {
        match cuda::of(&[&a.tensor, &b.tensor]) {
            Some(gpu) => gpus::products_into(gpu, a, b, precision, target),
            None => cores::products_into(a, b, precision, target),
        }
    }
    pub(crate) fn grams(a: &Matrices, precision: MatmulPrecision) -> Tensor {
        match cuda::of(&[&a.tensor]) {
            Some(gpu) => gpus::grams(gpu, a, precision),
            None => cores::grams(a, precision),
        }
    }
    pub(crate) fn biased_product(
        x: &Matrices,
        w: &Matrices,
        bias: &Tensor,
        precision: MatmulPrecision,
    ) -> Tensor {
        match cuda::of(&[&x.tensor, &w.tensor]) {
            Some(gpu) => gpus::biased_product(gpu, x, w, bias, precision),
            None => cores::biased_product(x, w, bias, precision),
        }
    }
}
pub(crate) mod norm {
    use super::args::Norm;
    use super::{Tensor, cuda};
    use crate::autograd::Target;
    use crate::cpu::norm as cores;
    use crate::cuda::rows as gpus;

    pub(crate) fn forward(
        norm: Norm,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> (Tensor, Tensor) {
        match cuda::of(&[x, weight]) {
            Some(gpu) => gpus::norm_forward(gpu, norm, x, weight, bias),
            None => cores::forward(norm, x, weight, bias),
        }
    }
    pub(crate) fn backward(
        norm: Norm,
        grad: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        stats: &Tensor,
        with_input: bool,
    ) -> (Option<Tensor>, Tensor) {
        match cuda::of(&[grad, x, weight]) {
            Some(gpu) => gpus::norm_backward(gpu, norm, grad, x, weight, stats, with_input),
            None => cores::backward(norm, grad, x, weight, stats, with_input),
        }
    }
    pub(crate) fn add_up(partial: &Tensor, which: usize, target: &mut Target<'_>) {
        match cuda::of(&[partial]) {
            Some(gpu) => gpus::add_up(gpu, partial, which, target),
            None => cores::add_up(partial, which, target),
        }
    }
}
pub(crate) mod one_hot {
    use super::{Tensor, falls_back};
    use crate::autograd::Target;
    use crate::cpu::one_hot as cores;

    pub(crate) fn sum_columns(ids: &Tensor, weight: &Tensor) -> Tensor {
        let _timer = falls_back("one_hot_linear", &[ids, weight]);
        cores::sum_columns(ids, weight)
    }
    pub(crate) fn add_to_columns(
        grad: &Tensor,
        ids: &Tensor,
        inputs: usize,
        target: &mut Target<'_>,
    ) {
        let _timer = falls_back("one_hot_linear", &[grad, ids]);
        cores::add_to_columns(grad, ids, inputs, target);
    }
}
pub(crate) mod planes {
    use super::{Tensor, falls_back};
    use crate::cpu::planes as cores;

    pub(crate) fn moments(x: &Tensor) -> Tensor {
        let _timer = falls_back("batch or group norm", &[x]);
        cores::moments(x)
    }
    pub(crate) fn affine(x: &Tensor, lines: &[[f64; 3]]) -> Tensor {
        let _timer = falls_back("batch or group norm", &[x]);
        cores::affine(x, lines)
    }
    pub(crate) fn products(grad: &Tensor, x: &Tensor, centres: &[f64]) -> Tensor {
        let _timer = falls_back("batch or group norm", &[grad, x]);
        cores::products(grad, x, centres)
    }
    pub(crate) fn combine(grad: &Tensor, x: &Tensor, factors: &[[f64; 4]]) -> Tensor {
        let _timer = falls_back("batch or group norm", &[grad, x]);
        cores::combine(grad, x, factors)
    }
}
pub(crate) mod pool {
    use super::args::Windows;
    use super::{Tensor, falls_back};
    use crate::cpu::pool::{self as cores, Largest};

    pub(crate) fn max(windows: &Windows, x: &Tensor) -> (Tensor, Largest) {
        let _timer = falls_back("max_pool2d", &[x]);
        cores::max(windows, x)
    }
    pub(crate) fn spread(windows: &Windows, grad: &Tensor, largest: &Largest) -> Tensor {
        let _timer = falls_back("max_pool2d", &[grad]);
        cores::spread(windows, grad, largest)
    }
}
pub(crate) mod quantized {
    pub(crate) use crate::cpu::quantized::{
        dequantize, first_non_finite, product, product_into, take,
    };
}
pub(crate) mod reduce {
    use std::ops::Range;

    use super::{Tensor, cuda};
    use crate::cpu::reduce as cores;
    use crate::cuda::reduce as gpus;
    use crate::dtype::DType;
    use crate::memory::Buffer;

    pub(crate) fn squares_of(buffer: &Buffer, dtype: DType, parts: &[Range<usize>]) -> Vec<f64> {
        match buffer.gpu() {
            Some(gpu) => gpus::squares_of(gpu, buffer, dtype, parts),
            None => cores::squares_of(buffer, dtype, parts),
        }
    }
    pub(crate) fn sum_of_squares(x: &Tensor) -> f64 {
        match cuda::of(&[x]) {
            Some(gpu) => gpus::sum_of_squares(gpu, x),
            None => cores::sum_of_squares(x),
        }
    }
    pub(crate) fn sum_middle(x: &Tensor, outer: usize, reduced: usize, inner: usize) -> Tensor {
        match cuda::of(&[x]) {
            Some(gpu) => gpus::sum_middle(gpu, x, outer, reduced, inner),
            None => cores::sum_middle(x, outer, reduced, inner),
        }
    }
    pub(crate) fn sum_of_rows(x: &Tensor) -> Tensor {
        match cuda::of(&[x]) {
            Some(gpu) => gpus::sum_of_rows(gpu, x),
            None => cores::sum_of_rows(x),
        }
    }
}
pub(crate) mod row_products {
    use super::{Tensor, falls_back};
    use crate::cpu::row_products as cores;

    pub(crate) fn forward(rows: &Tensor, table: &Tensor, ids: &Tensor) -> Tensor {
        let _timer = falls_back("row_products", &[rows, table]);
        cores::forward(rows, table, ids)
    }
    pub(crate) fn rows_gradient(grad: &Tensor, table: &Tensor, ids: &Tensor) -> Tensor {
        let _timer = falls_back("row_products", &[grad, table]);
        cores::rows_gradient(grad, table, ids)
    }
}
pub(crate) mod rotary {
    use super::{Tensor, cuda};

    pub(crate) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, back: bool) -> Tensor {
        match cuda::of(&[x]) {
            Some(gpu) => cuda::index::rotate(gpu, x, cos, sin, back),
            None => crate::cpu::rotary::rotate(x, cos, sin, back),
        }
    }
}
pub(crate) mod separable {
    use super::args::Taps;
    use super::{Tensor, falls_back};

    pub(crate) fn apply(x: &Tensor, down: &Taps, across: &Taps) -> Tensor {
        let _timer = falls_back("resampling", &[x]);
        crate::cpu::separable::apply(x, down, across)
    }
}
pub(crate) mod softmax {
    use super::args::RowKind;
    use super::{Tensor, cuda};

    pub(crate) fn rows(
        name: &'static str,
        kind: RowKind,
        x: &Tensor,
        grad: Option<&Tensor>,
    ) -> Tensor {
        let operands = [x, grad.unwrap_or(x)];
        match cuda::of(&operands) {
            Some(gpu) => cuda::rows::rows(gpu, name, kind, x, grad),
            None => crate::cpu::softmax::rows(name, kind, x, grad),
        }
    }
}
pub(crate) mod update {
    use crate::cpu::update as cores;
    pub use crate::cpu::update::{MAX_SLOTS, Memory, Reduce, Run, Runs, STATE_BLOCK, StateArena};
    pub use crate::cpu::update::{
        StateKind, TableRows, Trained, Update, Wrap, Wrapping, apply, reduce,
    };
    use crate::cuda::update as gpus;
    use crate::random::Key;

    /// Updates all elements of `runs`. With `rounding`, what is stored in less precision rounds to either neighbour at random.
    ///
    /// Pieces of work are disjoint and do not depend on the number of threads. Where a slot is a
    /// [`Master`](StateKind::Master) copy of bfloat16 parameters, the formula sees that copy as parameters, and it
    /// is not a slot among the others.
    ///
    /// # Panics
    /// Where the runs reach beyond an arena, or the slots are not `S`; where state in less precision belongs
    /// to parameters in double precision.
    pub fn update<const S: usize, U: Update<S>>(
        runs: &Runs,
        memory: &mut Memory<'_>,
        rounding: Option<Key>,
        update: &U,
    ) {
        match gpus::serving(memory) {
            Some(gpu) => gpus::update::<S, U>(gpu, runs, memory, rounding, &|_| update),
            None => cores::update(runs, memory, rounding, update),
        }
    }

    /// As [`update`](fn@update), with a formula for each run.
    ///
    /// # Panics
    /// As there, and where there are more runs than formulas.
    pub fn update_each<const S: usize, U: Update<S>>(
        runs: &Runs,
        memory: &mut Memory<'_>,
        rounding: Option<Key>,
        updates: &[U],
    ) {
        match gpus::serving(memory) {
            Some(gpu) => gpus::update::<S, U>(gpu, runs, memory, rounding, &|run| &updates[run]),
            None => cores::update_each(runs, memory, rounding, updates),
        }
    }

    /// As [`update`](fn@update), of those rows of parameters whose gradient is not all zero; a row of each run has so
    /// many `widths`.
    ///
    /// # Panics
    /// As there.
    pub fn update_rows<const S: usize, U: Update<S>>(
        runs: &[Run],
        widths: &[usize],
        memory: &mut Memory<'_>,
        rounding: Option<Key>,
        update: &U,
    ) {
        let _timer = memory.gpu().map(|gpu| gpu.falls_back("update of rows"));
        cores::update_rows(runs, widths, memory, rounding, update);
    }

    /// Updates the state of all elements of `runs`, and adds up over all of them. Sums are taken in pieces that
    /// do not depend on the number of threads, in double precision between them.
    ///
    /// # Panics
    /// As [`update`](fn@update).
    pub fn reduce_all<const S: usize, const K: usize, G: Reduce<S, K>>(
        runs: &Runs,
        memory: &mut Memory<'_>,
        rounding: Option<Key>,
        reduce: &G,
    ) -> [f64; K] {
        match gpus::serving(memory) {
            None => cores::reduce_all(runs, memory, rounding, reduce),
            Some(gpu) => {
                let each = gpus::reduce(gpu, runs, memory, rounding, reduce);
                each.iter().fold([0.0; K], |all, more| std::array::from_fn(|k| all[k] + more[k]))
            }
        }
    }

    /// As [`reduce_all`], with sums over each run.
    ///
    /// # Panics
    /// As [`update`](fn@update).
    pub fn reduce_each<const S: usize, const K: usize, G: Reduce<S, K>>(
        runs: &Runs,
        memory: &mut Memory<'_>,
        rounding: Option<Key>,
        reduce: &G,
    ) -> Vec<[f64; K]> {
        match gpus::serving(memory) {
            Some(gpu) => gpus::reduce(gpu, runs, memory, rounding, reduce),
            None => cores::reduce_each(runs, memory, rounding, reduce),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        folders.iter().flat_map(|folder| sources(folder)).chain(files).collect()
    }

    #[test]
    fn only_the_facade_names_a_processor() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let knows = |path: &PathBuf| {
            ["cpu", "kernels"].iter().any(|folder| path.starts_with(root.join(folder)))
        };
        let files = sources(&root);
        assert!(files.iter().any(knows) && files.len() > 80, "{}", files.len());
        for file in files.iter().filter(|path| !knows(path)) {
            let text = std::fs::read_to_string(file).unwrap();
            let names = text.lines().find(|line| line.contains("cpu::") || line.contains("::cpu"));
            assert_eq!(names, None, "{} names a processor's kernel", file.display());
        }
    }
}
