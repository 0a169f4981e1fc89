//! The tensor: a strided view of a shared buffer, and its place in the graph.

mod access;
mod create;
mod display;
mod view;

use std::sync::Arc;

use crate::autograd::Node;
use crate::dtype::{DType, Element};
use crate::memory::Buffer;
use crate::shape::{Layout, Shape};

/// Numbers in a grid of up to eight dimensions.
///
/// A tensor is a view: cloning, transposing and narrowing share the buffer. Values never change
/// once an operation has made them. Operations on tensors that come from parameters, or that
/// [`requires_grad`](Tensor::requires_grad) marked, are recorded, and
/// [`backward`](Tensor::backward) differentiates through them.
///
/// Shapes that do not fit are a mistake in the program that calls: operations panic at the
/// caller's line and name the operation and the shapes.
///
/// ```
/// use rappel_tensor::Tensor;
/// let x = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], [2, 2]);
/// let y = &x.t() * 10.0 + 1.0;
/// assert_eq!(y.to_vec::<f32>(), [11.0, 31.0, 21.0, 41.0]);
/// assert_eq!(format!("{:.0}", 1.0 - y), "[[-10, -30],\n [-20, -40]]");
/// ```
#[derive(Clone)]
pub struct Tensor {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) layout: Layout,
    pub(crate) dtype: DType,
    pub(crate) node: Option<Arc<Node>>,
}

impl Tensor {
    #[inline]
    pub(crate) fn from_buffer(buffer: Buffer, shape: Shape, dtype: DType) -> Self {
        debug_assert!(buffer.bytes() >= shape.count() * dtype.size());
        Self { buffer: Arc::new(buffer), layout: Layout::contiguous(shape), dtype, node: None }
    }

    /// A tensor whose values are about to be written by [`Tensor::fill_with`]'s like.
    pub(crate) fn uninit(shape: Shape, dtype: DType) -> Self {
        Self::from_buffer(Buffer::uninit(shape.count() * dtype.size()), shape, dtype)
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> Shape {
        self.layout.shape
    }

    /// The size of one dimension.
    ///
    /// # Panics
    /// Where there is no such dimension.
    #[track_caller]
    pub fn size(&self, axis: usize) -> usize {
        assert!(axis < self.rank(), "size: no dimension {axis} in shape {}", self.shape());
        self.layout.shape[axis]
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.layout.shape.rank()
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        self.layout.shape.count()
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Whether elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// Whether [`backward`](Tensor::backward) would send a gradient to this tensor.
    pub fn needs_grad(&self) -> bool {
        self.node.is_some()
    }

    pub(crate) fn ptr<T: Element>(&self) -> *const T {
        debug_assert_eq!(T::DTYPE, self.dtype);
        // SAFETY: every layout's offset lies within its buffer.
        unsafe { self.buffer.as_ptr::<T>().add(self.layout.offset) }
    }

    /// The elements of a contiguous tensor.
    pub(crate) fn slice<T: Element>(&self) -> &[T] {
        debug_assert!(self.is_contiguous());
        let from = self.layout.offset;
        &self.buffer.as_slice()[from..from + self.count()]
    }

    /// The elements of a tensor that was just made and that nobody else holds.
    ///
    /// # Panics
    /// Where somebody does, or where the elements do not lie in order.
    pub(crate) fn slice_mut<T: Element>(&mut self) -> &mut [T] {
        assert!(self.is_contiguous() && T::DTYPE == self.dtype, "a new tensor is contiguous");
        let (from, count) = (self.layout.offset, self.count());
        let buffer = Arc::get_mut(&mut self.buffer).expect("a new tensor has one owner");
        &mut buffer.as_slice_mut()[from..from + count]
    }

    /// The same values without the graph behind them.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self { node: None, ..self.clone() }
    }
}
