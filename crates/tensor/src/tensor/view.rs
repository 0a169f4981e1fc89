//! Views: the same elements under another shape, without a copy.

use crate::kernels;
use crate::shape::{Layout, Shape};
use crate::tensor::Tensor;

impl Tensor {
    /// A view by `layout`; `undo` turns the gradient of the view into that of this tensor.
    fn view(&self, layout: Layout, undo: impl FnOnce(&Tensor) -> Tensor + Send + 'static) -> Self {
        let view = Self { layout, node: None, ..self.clone() };
        view.record(&[self], |grad, sink| sink.add(0, || undo(&grad)))
    }

    /// The same elements in row-major order under another shape; copies where strides cannot
    /// express it.
    ///
    /// # Panics
    /// Where the number of elements differs.
    ///
    /// ```
    /// use rappel_tensor::{DType, Tensor};
    /// let x = Tensor::arange(6, DType::F32).reshape([2, 3]);
    /// assert_eq!(x.t().reshape([6]).to_vec::<f32>(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert!(
            shape.count() == self.count(),
            "reshape: {} to {shape} changes the number of elements",
            self.shape()
        );
        let before = self.shape();
        match self.layout.reshaped(shape) {
            Some(layout) => self.view(layout, move |grad| grad.reshape(before)),
            None => self.contiguous().reshape(shape),
        }
    }

    /// Dimensions `a` and `b` exchanged.
    #[track_caller]
    #[must_use]
    pub fn transpose(&self, a: usize, b: usize) -> Self {
        let rank = self.rank();
        assert!(a < rank && b < rank, "transpose: no dimensions {a}, {b} in {}", self.shape());
        self.view(self.layout.transposed(a, b), move |grad| grad.transpose(a, b))
    }

    /// A matrix with its dimensions exchanged; [`mt`](Tensor::mt) does it with many.
    #[track_caller]
    #[must_use]
    pub fn t(&self) -> Self {
        assert!(self.rank() == 2, "t: needs a matrix, got {}; mt takes many", self.shape());
        self.transpose(0, 1)
    }

    /// The last two dimensions exchanged: PyTorch's `mT`.
    #[track_caller]
    #[must_use]
    pub fn mt(&self) -> Self {
        let rank = self.rank();
        assert!(rank >= 2, "mt: needs two dimensions, got {}", self.shape());
        self.transpose(rank - 2, rank - 1)
    }

    /// Dimensions in the order of `axes`: dimension `i` of the result is `axes[i]` of this.
    #[track_caller]
    #[must_use]
    pub fn permute(&self, axes: &[usize]) -> Self {
        let rank = self.rank();
        let mut inverse = vec![rank; rank];
        for (i, &axis) in axes.iter().enumerate() {
            assert!(
                axes.len() == rank && axis < rank && inverse[axis] == rank,
                "permute: {axes:?} is not an order of the dimensions of {}",
                self.shape()
            );
            inverse[axis] = i;
        }
        let mut layout = self.layout;
        for (i, &axis) in axes.iter().enumerate() {
            layout.shape[i] = self.layout.shape[axis];
            layout.strides[i] = self.layout.strides[axis];
        }
        self.view(layout, move |grad| grad.permute(&inverse))
    }

    /// Elements `start..start + len` of dimension `axis`.
    #[track_caller]
    #[must_use]
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Self {
        let shape = self.shape();
        assert!(
            axis < shape.rank() && start + len <= shape[axis],
            "narrow: {start}..{} of dimension {axis} is outside {shape}",
            start + len
        );
        let mut layout = self.layout;
        layout.offset += start * layout.strides[axis];
        layout.shape[axis] = len;
        self.view(layout, move |grad| kernels::copy::embed(grad, shape, axis, start))
    }

    /// Repeated along dimensions of size one, as NumPy broadcasts, without a copy.
    #[track_caller]
    #[must_use]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let before = self.shape();
        assert!(
            before.broadcast(&shape) == Some(shape),
            "broadcast_to: {before} does not broadcast to {shape}"
        );
        self.view(self.layout.broadcast(shape), move |grad| grad.sum_to(before))
    }

    /// With a dimension of size one inserted at `axis`.
    #[track_caller]
    #[must_use]
    pub fn unsqueeze(&self, axis: usize) -> Self {
        assert!(axis <= self.rank(), "unsqueeze: no place {axis} in {}", self.shape());
        self.reshape(self.shape().inserted(axis, 1))
    }

    /// Without dimension `axis`, which must be of size one.
    #[track_caller]
    #[must_use]
    pub fn squeeze(&self, axis: usize) -> Self {
        assert!(self.size(axis) == 1, "squeeze: dimension {axis} of {} is not 1", self.shape());
        self.reshape(self.shape().removed(axis))
    }

    /// Cut along `axis` into parts of `sizes`, as views.
    #[track_caller]
    pub fn split(&self, axis: usize, sizes: &[usize]) -> Vec<Self> {
        let total: usize = sizes.iter().sum();
        assert!(
            axis < self.rank() && total == self.size(axis),
            "split: {sizes:?} does not add up to dimension {axis} of {}",
            self.shape()
        );
        let mut start = 0;
        sizes
            .iter()
            .map(|&len| {
                start += len;
                self.narrow(axis, start - len, len)
            })
            .collect()
    }

    /// In row-major order without gaps: this tensor, or a copy.
    #[must_use]
    pub fn contiguous(&self) -> Self {
        if self.is_contiguous() {
            return self.clone();
        }
        kernels::copy::contiguous(self).record(&[self], |grad, sink| sink.add(0, || grad))
    }

    /// The same values in memory of its own, out of the graph: to keep a parameter's value beyond the
    /// step that changes it.
    #[must_use]
    pub fn copied(&self) -> Self {
        kernels::copy::contiguous(&self.detach())
    }
}
