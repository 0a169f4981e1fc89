//! Cross-entropy of logits that a matrix product makes, a few rows at a time.

use super::cross_entropy::{Scale, losses_in_place};
use super::gemm::{self, Float, How, Operand, Output, View};
use super::parallel::{Shared, for_pieces};
use super::quantized::{Read, write};
use crate::dtype::{DType, Element};
use crate::kernels::args::{Head, HeadLoss};
use crate::memory::Buffer;
use crate::profile::timed;
use crate::quantized::Weight;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Bytes of logits that are in memory at a time.
const CHUNK_BYTES: usize = 64 << 20;
/// Rows below which reading the matrix for each chunk would cost more than its product.
const FEWEST_ROWS: usize = 64;
/// Elements that one task multiplies.
const PIECE: usize = 1 << 15;

/// Computes the loss, and slopes of `hidden` and `weight` where they are asked for.
///
/// Slopes come with the loss, because the logits are gone afterwards: to compute them again
/// would be a fourth product beside the three that training needs.
pub(crate) fn head(head: &Head<'_>, slope_hidden: bool, slope_weight: bool) -> HeadLoss {
    match head.hidden.dtype() {
        DType::F32 => head.chunks::<f32, f32>(slope_hidden, slope_weight),
        DType::F64 => head.chunks::<f64, f64>(slope_hidden, slope_weight),
        DType::BF16 => head.chunks::<half::bf16, f32>(slope_hidden, slope_weight),
        other => panic!("linear_cross_entropy: needs floating-point numbers, got {other}"),
    }
}

/// Rows whose logits, of `size` bytes each, are in memory at a time.
fn chunk_rows(rows: usize, vocab: usize, size: usize) -> usize {
    let most = (CHUNK_BYTES / vocab.saturating_mul(size).max(1)).max(FEWEST_ROWS);
    rows.div_ceil(rows.div_ceil(most).max(1))
}

/// Bytes that [`head`] allocates at most: logits of a chunk, and both slopes.
pub(crate) fn head_bytes([rows, width, vocab]: [usize; 3], dtype: DType) -> usize {
    let size = dtype.accumulator().size();
    let logits = chunk_rows(rows, vocab, size).saturating_mul(vocab);
    let slopes = rows.saturating_add(vocab).saturating_mul(width);
    logits.saturating_add(slopes).saturating_mul(size)
}

impl Head<'_> {
    fn chunks<T, A>(&self, slope_hidden: bool, slope_weight: bool) -> HeadLoss
    where
        T: Read + Output<Acc = A> + Element,
        A: gemm::Float + Stored,
    {
        let (rows, width) = (self.hidden.size(0), self.hidden.size(1));
        let vocab = self.weight.shape()[0];
        let tensor = |wanted: bool, sizes: [usize; 2], dtype| {
            wanted.then(|| Tensor::uninit(sizes.into(), dtype))
        };
        let mut total = 0.0;
        let mut out = HeadLoss {
            loss: Tensor::scalar(0.0, A::DTYPE),
            rows: Tensor::uninit([rows].into(), DType::F64),
            hidden: tensor(slope_hidden, [rows, width], T::DTYPE),
            weight: tensor(slope_weight, [vocab, width], A::DTYPE),
        };
        if rows == 0 {
            out.weight = slope_weight.then(|| Tensor::zeros([vocab, width], A::DTYPE));
            out.loss = Tensor::scalar(0.0 / self.denominator, A::DTYPE);
            return out;
        }
        let chunk = chunk_rows(rows, vocab, size_of::<A>());
        let mut scratch = Buffer::uninit(chunk * vocab * size_of::<A>());
        for start in (0..rows).step_by(chunk) {
            let rows = start..rows.min(start + chunk);
            let logits = &mut scratch.as_slice_mut::<A>()[..rows.len() * vocab];
            total += self.chunk::<T, A>(rows, logits, &mut out);
        }
        out.loss = Tensor::scalar(total / self.denominator, A::DTYPE);
        out
    }

    /// The loss of some rows; slopes go to `out`.
    fn chunk<T, A>(&self, rows: std::ops::Range<usize>, logits: &mut [A], out: &mut HeadLoss) -> f64
    where
        T: Read + Output<Acc = A> + Element,
        A: gemm::Float + Stored,
    {
        let (start, m) = (rows.start, rows.len());
        let [vocab, width] = [0, 1].map(|axis| self.weight.shape()[axis]);
        let hidden = view::<T>(self.hidden, start);
        let wanted = [true, out.hidden.is_some(), out.weight.is_some()];
        let products = wanted.into_iter().filter(|&wanted| wanted).count();
        let flops = (2 * products * m * vocab * width) as f64;
        let moved = m * vocab + m * width + vocab * width;
        let _timer = timed("matmul", flops, (products * moved * size_of::<A>()) as f64);
        let scale = match self.scales {
            Some(scales) => Scale::Each(&scales.slice::<f64>()[rows.clone()]),
            None => Scale::All(1.0 / self.denominator),
        };
        let scale = (products > 1).then_some(scale);
        // SAFETY: the views lie within their tensors, the scratch holds `m vocab` elements, and the
        // slopes have the sizes of what they are slopes of.
        unsafe {
            let (one, all) = (A::ONE, How::parallel(self.precision));
            self.times::<T, T, A>(hidden, m, false, logits);
            let targets = &self.targets.slice::<i64>()[rows];
            let losses = losses_in_place(logits, vocab, targets, self.terms, scale);
            let loss = losses.iter().sum();
            out.rows.slice_mut::<f64>()[start..start + m].copy_from_slice(&losses);
            let slopes = View::new(logits.as_ptr(), vocab, 1);
            if let Some(to) = &mut out.hidden {
                let to = &mut to.slice_mut::<T>()[start * width..(start + m) * width];
                self.times::<A, T, T>(slopes, m, true, to);
            }
            if let Some(to) = &mut out.weight {
                let (to, size) = (to.slice_mut::<A>().as_mut_ptr(), (vocab, width, m));
                let add = start > 0;
                gemm::gemm(size, one, transposed(slopes), hidden, to, width, add, None, all);
            }
            loss
        }
    }
}

impl Head<'_> {
    /// `x w^T` of `m` rows, or `x w` where it is `across`.
    ///
    /// # Safety
    /// `x` is valid for reads of the product's size, and the matrix holds `T`.
    unsafe fn times<X, T, C>(&self, x: View<X>, m: usize, across: bool, to: &mut [C])
    where
        X: Operand,
        T: Read + Operand<Acc = X::Acc>,
        C: Output<Acc = X::Acc>,
    {
        let [vocab, width] = [0, 1].map(|axis| self.weight.shape()[axis]);
        let dense = match self.weight {
            Weight::Dense(dense) => dense,
            Weight::Quantized(weight, _) => {
                let across = across != weight.is_transposed();
                // SAFETY: the caller's promise.
                unsafe { write::<X, T, C>(x, m, weight, across, to, false, self.precision) };
                return;
            }
        };
        let weight = view::<T>(dense, 0);
        let (weight, n, k) =
            if across { (weight, width, vocab) } else { (transposed(weight), vocab, width) };
        assert_eq!(to.len(), m * n, "a product of another size");
        let how = How::parallel(self.precision);
        // SAFETY: the caller's promise, and the result has the size of the product.
        unsafe {
            gemm::gemm((m, n, k), X::Acc::ONE, x, weight, to.as_mut_ptr(), n, false, None, how);
        }
    }
}

/// A matrix from row `first` on.
fn view<T: Element>(matrix: &Tensor, first: usize) -> View<T> {
    let strides = &matrix.layout.strides;
    View::new(matrix.ptr::<T>().wrapping_add(first * strides[0]), strides[0], strides[1])
}

fn transposed<T: Operand>(view: View<T>) -> View<T> {
    View { rs: view.cs, cs: view.rs, ..view }
}

/// `tensor *= factor`, a scalar, for a tensor that nobody else holds.
pub(crate) fn multiply(tensor: &mut Tensor, factor: &Tensor) {
    let factor = factor.item();
    if factor == 1.0 {
        return;
    }
    with_float!(tensor.dtype(), "linear_cross_entropy", T => {
        let values = tensor.slice_mut::<T>();
        let (n, all) = (values.len(), Shared::new(values));
        for_pieces(n, PIECE, |range| {
            // SAFETY: pieces are disjoint.
            dispatch(Multiply { values: unsafe { all.slice(range) }, factor });
        });
    });
}

struct Multiply<'a, T> {
    values: &'a mut [T],
    factor: f64,
}

impl<T: Stored> Kernel for Multiply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let factor = T::Wide::<S>::of(self.factor);
        for values in self.values.chunks_mut(lanes) {
            let (at, n) = (values.as_mut_ptr(), values.len());
            // SAFETY: `n` values, a register or its first part.
            unsafe {
                if n == lanes {
                    T::store::<S>(T::load::<S>(at) * factor, at);
                } else {
                    T::store_partial::<S>(T::load_partial::<S>(at, n) * factor, at, n);
                }
            }
        }
    }
}
