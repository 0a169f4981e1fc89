//! Attention without a stored score matrix.
//!
//! A task takes one head and a block of queries: their scores against a block of keys are a small
//! matrix product in this thread's scratch memory, the softmax runs over it where it lies, and a
//! second product adds up the values. Further blocks of keys move the running maximum and sum along
//! (Dao and others, <https://arxiv.org/abs/2205.14135>). What stays is one number per query, the
//! logarithm of the sum of its exponentials, from which the backward pass makes the same
//! probabilities again.

mod backward;
mod forward;
mod mask;
mod rows;

#[cfg(test)]
mod tests;

use super::gemm::{Float, How, Output, View};
use crate::dtype::Element;
use crate::kernels::args::Problem;
use crate::real::Stored;
use crate::tensor::Tensor;

pub(crate) use backward::{backward, backward_packed};
pub(crate) use forward::forward;

/// Keys in a block: what a block of queries scores at a time.
const KEYS: usize = 1024;

/// The number types of a kernel: what is stored, and what is summed.
pub(crate) trait Number: Stored + Output<Acc = <Self as Number>::Sum> {
    /// The type of scores, probabilities and sums.
    type Sum: Stored + Float;
}
impl Number for f32 {
    type Sum = f32;
}
impl Number for f64 {
    type Sum = f64;
}
impl Number for half::bf16 {
    type Sum = f32;
}

impl Problem {
    /// How a task multiplies.
    fn how(&self) -> How {
        How::serial(self.precision)
    }

    /// Floating-point operations of `products` products over all visible pairs.
    fn flops(&self, products: usize) -> f64 {
        let pairs = if self.window.is_some() {
            (0..self.time).map(|t| (self.visible(t) - self.lowest(t)) as f64).sum()
        } else {
            let share = if self.causal && self.time == self.keys { 0.5 } else { 1.0 };
            (self.time * self.keys) as f64 * share
        };
        (2 * products * self.batch * self.heads * self.dim) as f64 * pairs
    }

    /// Bytes of as many tensors of the queries' and of the keys' size.
    fn bytes(&self, queries: usize, keys: usize, element: usize) -> f64 {
        let rows = queries * self.time * self.heads + keys * self.keys * self.kv_heads;
        (self.batch * rows * self.dim * element) as f64
    }
}

/// A `[batch, time, heads, dim]` operand where it lies.
#[derive(Clone, Copy)]
struct Heads<T> {
    start: *mut T,
    strides: [usize; 4],
}

// SAFETY: tasks write disjoint heads or rows, and read what nobody writes.
unsafe impl<T: Send> Send for Heads<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Heads<T> {}

impl<T: Element> Heads<T> {
    /// A tensor of rank 4, to read.
    fn of(tensor: &Tensor) -> Self {
        let strides = std::array::from_fn(|d| tensor.layout.strides[d]);
        Self { start: tensor.ptr::<T>().cast_mut(), strides }
    }

    /// A part of a new tensor, to write: `dim` columns for each head from column `first` on.
    fn within(tensor: &mut Tensor, time: usize, width: usize, dim: usize, first: usize) -> Self {
        let start = tensor.slice_mut::<T>().as_mut_ptr().wrapping_add(first);
        Self { start, strides: [time * width, width, dim, 1] }
    }

    /// The row of one head at time `t`.
    fn row(&self, b: usize, t: usize, h: usize) -> *mut T {
        let [batch, time, head, _] = self.strides;
        self.start.wrapping_add(b * batch + t * time + h * head)
    }

    /// Rows of one head from time `t` on, as a matrix.
    fn view(&self, b: usize, t: usize, h: usize) -> View<T> {
        View::new(self.row(b, t, h), self.strides[1], self.strides[3])
    }

    /// The transpose of [`view`](Self::view).
    fn view_t(&self, b: usize, t: usize, h: usize) -> View<T> {
        View::new(self.row(b, t, h), self.strides[3], self.strides[1])
    }
}
