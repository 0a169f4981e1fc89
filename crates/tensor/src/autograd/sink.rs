//! Where an operation's backward puts the gradients of its inputs.

use std::ops::Range;
use std::sync::Arc;

use super::engine::{Pending, PendingNodes};
use super::{Kind, Node};
use crate::cuda::Gpu;
use crate::dtype::{DType, Element};
use crate::kernels;
use crate::kernels::args::AddedRows;
use crate::memory::Buffer;
use crate::params::GradStore;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Takes gradients for the inputs of one operation, by their position.
pub(crate) struct Sink<'a> {
    pub(super) inputs: &'a [Option<Arc<Node>>],
    pub(super) pending: &'a mut PendingNodes,
    pub(super) store: &'a mut dyn GradStore,
}

/// A gradient's memory, to be written or added to.
pub(crate) struct Target<'a> {
    buffer: &'a mut Buffer,
    /// The gradient's bytes within the buffer.
    range: Range<usize>,
    /// The type of the elements: that of the input, or its accumulator where it is a parameter.
    pub dtype: DType,
    /// Whether there is a sum already that the new gradient must be added to; where not, the
    /// memory holds anything and every element must be written.
    pub accumulate: bool,
}

impl<'a> Target<'a> {
    /// Elements `range` of a buffer of `dtype`.
    pub fn new(
        buffer: &'a mut Buffer,
        range: Range<usize>,
        dtype: DType,
        accumulate: bool,
    ) -> Self {
        let range = range.start * dtype.size()..range.end * dtype.size();
        Self { buffer, range, dtype, accumulate }
    }

    /// How many elements there are.
    pub fn count(&self) -> usize {
        self.range.len() / self.dtype.size()
    }

    /// The elements, in row-major order of the input's shape.
    pub fn slice<T: Element>(&mut self) -> &mut [T] {
        assert!(T::DTYPE == self.dtype, "gradient of {} written as {}", self.dtype, T::DTYPE);
        let size = size_of::<T>();
        &mut self.buffer.as_slice_mut()[self.range.start / size..self.range.end / size]
    }

    /// The address of the first element on a GPU, to write or add to.
    pub fn on(&mut self, gpu: &Gpu) -> u64 {
        self.buffer.on_mut(gpu.device()).unwrap_or_default() + self.range.start as u64
    }

    /// The GPU that the gradient lies on, if it does.
    pub fn gpu(&self) -> Option<&'static Gpu> {
        self.buffer.gpu()
    }

    /// Adds, or copies, a tensor of the same shape.
    pub fn put(&mut self, grad: &Tensor) {
        kernels::copy::accumulate(grad, self);
    }
}

impl Sink<'_> {
    /// Whether input `i` wants its gradient.
    pub fn needs(&self, i: usize) -> bool {
        self.inputs[i].is_some()
    }

    /// Gives input `i` the gradient that `grad` computes; not called where it is not wanted.
    pub fn add(&mut self, i: usize, grad: impl FnOnce() -> Tensor) {
        let Some(node) = &self.inputs[i] else { return };
        let grad = grad();
        match &node.kind {
            Kind::Param(slot) => self.store.write(slot, &mut |target| target.put(&grad)),
            Kind::Leaf | Kind::Operation(_) => match self.pending.at(node) {
                Pending { grad: empty @ None, .. } => *empty = Some(grad),
                Pending { grad: Some(sum), .. } => add_into(sum, &grad),
            },
        }
    }

    /// Lets `write` put the gradient of input `i`, of `shape`, straight where it is kept: for a
    /// parameter that is the arena. Not called where it is not wanted.
    pub fn write(
        &mut self,
        i: usize,
        shape: Shape,
        dtype: DType,
        write: impl FnOnce(&mut Target<'_>),
    ) {
        let Some(node) = &self.inputs[i] else { return };
        match &node.kind {
            Kind::Param(slot) => {
                let mut write = Some(write);
                self.store.write(slot, &mut |target| {
                    if let Some(write) = write.take() {
                        write(target);
                    }
                });
            }
            Kind::Leaf | Kind::Operation(_) => {
                let mut fresh = Tensor::uninit(shape, dtype);
                write(&mut owned_target(&mut fresh, false));
                self.add(i, || fresh);
            }
        }
    }

    /// Gives input `i`, a table of `shape`, the gradient of rows that were looked up: what is `added` to the rows `ids` (i64).
    /// Where the table keeps its gradient by rows, no others are touched.
    pub fn rows(
        &mut self,
        i: usize,
        shape: Shape,
        dtype: DType,
        ids: &Tensor,
        added: AddedRows<'_>,
    ) {
        let Some(node) = &self.inputs[i] else { return };
        if let Kind::Param(slot) = &node.kind
            && slot.entry().by_rows
        {
            return self.store.write_rows(slot, ids, added);
        }
        let dims = [1, shape[0], shape[1]];
        self.write(i, shape, dtype, |target| kernels::index::add_taken(added, dims, ids, target));
    }

    /// Differentiates the graph behind `root` too, on the way: parameters get their gradients,
    /// and those of `leaves` come back.
    pub fn nested(
        &mut self,
        root: &Tensor,
        grad: Tensor,
        leaves: &[Tensor],
    ) -> Vec<Option<Tensor>> {
        super::engine::nested(root, grad, leaves, self.store)
    }
}

/// The memory of a contiguous tensor that has one owner.
pub(crate) fn owned_target(tensor: &mut Tensor, accumulate: bool) -> Target<'_> {
    assert!(tensor.is_contiguous(), "a gradient's memory is in order");
    let (from, count, dtype) = (tensor.layout.offset, tensor.count(), tensor.dtype());
    let buffer = Arc::get_mut(&mut tensor.buffer).expect("a gradient's memory has one owner");
    Target::new(buffer, from..from + count, dtype, accumulate)
}

/// `sum += grad`, in place where the sum has one owner and lies in order.
fn add_into(sum: &mut Tensor, grad: &Tensor) {
    if sum.is_contiguous() && Arc::get_mut(&mut sum.buffer).is_some() {
        owned_target(sum, true).put(grad);
    } else {
        *sum = &*sum + grad;
    }
}
