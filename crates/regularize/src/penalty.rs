//! What penalties and constraints are.

use std::fmt::Debug;

use rappel_config::Words;
use rappel_tensor::{Tensor, no_grad};

use crate::Weights;

/// A measure of size, of one weight at a time, to be kept small.
pub trait Penalty: Debug + Send + Sync {
    /// The size of `weight`, a differentiable scalar: what `lambda` multiplies.
    fn size(&self, weight: &Tensor) -> Tensor;

    /// The proximal point `argmin_x t size(x) + |x - w|^2 / 2` of `weight`; `None` where it has no
    /// closed form.
    fn proximal(&self, weight: &Tensor, t: f64) -> Option<Tensor>;

    /// `lambda` times the sum of the sizes of `weights`, a scalar to add to a loss; 0 without weights.
    fn of(&self, weights: &Weights, lambda: f64) -> Tensor {
        let dtype = weights.dtype();
        let sizes = weights.params().iter().map(|weight| {
            let weight = weight.tensor();
            if weight.dtype() == dtype {
                self.size(&weight)
            } else {
                self.size(&weight.to_dtype(dtype))
            }
        });
        match sizes.reduce(|sum, size| sum + size) {
            Some(sum) => sum * lambda,
            None => Tensor::scalar(0.0, dtype),
        }
    }
}

/// A set that each weight is brought back into after a step.
pub trait Constraint: Debug + Send + Sync {
    /// The point of the set that belongs to `weight`; `value` is its size at this step.
    fn project(&self, weight: &Tensor, value: f64) -> Tensor;
}

/// Which parts of a weight are taken together. A weight of rank 3 and more counts as the matrix of
/// its first dimension against all others; one of rank 1 as a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Words)]
pub enum Axis {
    /// Each row: the weights into one output of a `Linear` layer.
    #[default]
    Rows,
    /// Each column: the weights out of one input of a `Linear` layer.
    Columns,
}

impl Axis {
    /// The Euclidean norm of each group of `weight`, as a matrix that broadcasts to
    /// [`matrix`]`(weight)`; its gradient is 0 where the norm is.
    pub(crate) fn norms(self, weight: &Tensor) -> Tensor {
        let axis = match self {
            Self::Rows => 1,
            Self::Columns => 0,
        };
        let squares = matrix(weight).square().sum_axis(axis).unsqueeze(axis);
        let zero = squares.eq(0.0);
        squares.masked_fill(&zero, 1.0).sqrt().masked_fill(&zero, 0.0)
    }

    /// How many numbers a group of `weight` has.
    pub(crate) fn group_size(self, weight: &Tensor) -> usize {
        let rows = rows(weight);
        match self {
            Self::Rows => weight.count() / rows.max(1),
            Self::Columns => rows,
        }
    }
}

fn rows(weight: &Tensor) -> usize {
    if weight.rank() == 0 { 1 } else { weight.size(0) }
}

/// A weight as a matrix: its first dimension against all others.
pub(crate) fn matrix(weight: &Tensor) -> Tensor {
    let rows = rows(weight);
    weight.reshape([rows, weight.count() / rows.max(1)])
}

/// `sign(w) max(|w| - t, 0)`: what lies within `t` of 0 becomes 0.
pub(crate) fn soft_threshold(weight: &Tensor, t: f64) -> Tensor {
    no_grad(|| {
        let weight = weight.detach();
        let above = (&weight - t).relu();
        above - (-(&weight) - t).relu()
    })
}
