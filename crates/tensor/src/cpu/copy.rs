//! Moving elements: gathering views, placing parts, converting, adding up.

use super::parallel::{Shared, for_pieces};
use crate::autograd::Target;
use crate::dtype::{DType, Element};
use crate::kernels::walk::Walk;
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::shape::{Layout, Shape};
use crate::tensor::Tensor;
use crate::{with_element, with_float};

/// Bytes that one task moves.
const PIECE_BYTES: usize = 1 << 17;

/// The elements of a view in row-major order, in a buffer of their own.
pub(crate) fn contiguous(tensor: &Tensor) -> Tensor {
    let shape = tensor.shape();
    let mut out = Tensor::uninit(shape, tensor.dtype());
    place(&mut out, Layout::contiguous(shape), tensor);
    out
}

/// Zeros of `shape`, but `part` at `start..` of dimension `axis`.
pub(crate) fn embed(part: &Tensor, shape: Shape, axis: usize, start: usize) -> Tensor {
    let mut out = Tensor::zeros(shape, part.dtype());
    let mut layout = Layout::contiguous(shape);
    layout.offset = start * layout.strides[axis];
    layout.shape[axis] = part.shape()[axis];
    place(&mut out, layout, part);
    out
}

/// Writes `from` where `layout`, of the same shape, puts its elements in `to`, a new tensor of the
/// same type.
pub(crate) fn place(to: &mut Tensor, layout: Layout, from: &Tensor) {
    let shape = from.shape();
    debug_assert_eq!(layout.shape, shape);
    let _timer = timed("copy", 0.0, (2 * shape.count() * from.dtype().size()) as f64);
    let walk = Walk::new([layout, from.layout], shape);
    with_element!(from.dtype(), T => {
        let source = Shared::from_ptr(from.buffer.as_ptr::<T>().cast_mut());
        let to = Shared::new(to.slice_mut::<T>());
        let rows = (PIECE_BYTES / (walk.inner * size_of::<T>()).max(1)).max(1);
        for_pieces(walk.rows, rows, |range| {
            for row in range {
                let [a, b] = walk.offsets(row);
                let [da, db] = walk.steps;
                // SAFETY: the walk stays within both layouts; rows of the target are disjoint.
                unsafe {
                    if da == 1 && db == 1 {
                        std::ptr::copy_nonoverlapping(source.at(b), to.at(a), walk.inner);
                    } else {
                        for i in 0..walk.inner {
                            *to.at(a + i * da) = *source.at(b + i * db);
                        }
                    }
                }
            }
        });
    });
}

/// Adds a gradient to what is in `target`, or copies it there.
pub(crate) fn accumulate(grad: &Tensor, target: &mut Target<'_>) {
    let grad = grad.detach().to_dtype(target.dtype).contiguous();
    let add = target.accumulate;
    let bytes = grad.count() * grad.dtype().size() * if add { 3 } else { 2 };
    let _timer = timed("accumulate", 0.0, bytes as f64);
    with_float!(target.dtype, "gradient", T => {
        let (to, from) = (target.slice::<T>(), grad.slice::<T>());
        assert_eq!(to.len(), from.len(), "gradient: has {} elements, not {}", from.len(), to.len());
        let shared = Shared::new(to);
        for_pieces(from.len(), PIECE_BYTES / size_of::<T>(), |range| {
            // SAFETY: pieces are disjoint, and both sides are as long.
            let to = unsafe { shared.slice(range.clone()) };
            if add {
                dispatch(AddAssign { to, from: &from[range] });
            } else {
                to.copy_from_slice(&from[range]);
            }
        });
    });
}

pub(super) struct AddAssign<'a, T> {
    pub to: &'a mut [T],
    pub from: &'a [T],
}

impl<T: Stored> Kernel for AddAssign<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let n = self.to.len();
        let (to, from) = (self.to.as_mut_ptr(), self.from.as_ptr());
        let mut i = 0;
        // SAFETY: both slices have `n` elements, and `i` stays below.
        unsafe {
            while i + lanes <= n {
                T::store::<S>(T::load::<S>(to.add(i)) + T::load::<S>(from.add(i)), to.add(i));
                i += lanes;
            }
            if i < n {
                let left = n - i;
                let sum =
                    T::load_partial::<S>(to.add(i), left) + T::load_partial::<S>(from.add(i), left);
                T::store_partial::<S>(sum, to.add(i), left);
            }
        }
    }
}

/// Adds a multiple.
pub(super) struct AddTimes<'a, T> {
    pub to: &'a mut [T],
    pub from: &'a [T],
    pub factor: T,
}

impl<T: Stored> Kernel for AddTimes<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let n = self.to.len().min(self.from.len());
        let (to, from) = (self.to.as_mut_ptr(), self.from.as_ptr());
        let factor = T::Wide::<S>::of(self.factor.to_f64());
        let mut i = 0;
        // SAFETY: both slices have `n` elements, and `i` stays below.
        unsafe {
            while i + lanes <= n {
                let sum = T::load::<S>(from.add(i)).mul_add(factor, T::load::<S>(to.add(i)));
                T::store::<S>(sum, to.add(i));
                i += lanes;
            }
            if i < n {
                let left = n - i;
                let (from, old) = (from.add(i), T::load_partial::<S>(to.add(i), left));
                let sum = T::load_partial::<S>(from, left).mul_add(factor, old);
                T::store_partial::<S>(sum, to.add(i), left);
            }
        }
    }
}

/// The same values as another type: rounded to nearest, truncated to integers.
pub(crate) fn convert(tensor: &Tensor, dtype: DType) -> Tensor {
    let from = tensor.contiguous();
    let mut out = Tensor::uninit(from.shape(), dtype);
    with_element!(from.dtype(), A => with_element!(dtype, B => {
        let source = from.slice::<A>();
        let to = Shared::new(out.slice_mut::<B>());
        for_pieces(source.len(), PIECE_BYTES / 8, |range| {
            // SAFETY: pieces are disjoint.
            let to = unsafe { to.slice(range.clone()) };
            for (b, a) in to.iter_mut().zip(&source[range]) {
                *b = B::from_f64(a.to_f64());
            }
        });
    }));
    out
}
