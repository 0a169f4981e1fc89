//! Operations: one file each, with shapes, forward, backward and samples for the gradient check.
//!
//! Adding one is a file, its `mod` line and its line in [`OPERATIONS`]; a test compares the folder
//! with the list, and differentiates every sample numerically.

mod elementwise;
mod linear;
mod matmul;
mod sample;
mod sum;
mod unary;

use crate::tensor::Tensor;

pub use linear::{WeightLayout, linear};
pub use sample::{Sample, Sampler};

/// A differentiable operation, with samples to check its gradient on.
pub struct Operation {
    /// The name of its file.
    pub name: &'static str,
    /// Draws functions of it to differentiate, on random shapes.
    pub samples: fn(&mut Sampler) -> Vec<Sample>,
}

/// Every differentiable operation.
pub const OPERATIONS: &[Operation] = &[
    elementwise::OPERATION,
    linear::OPERATION,
    matmul::OPERATION,
    sum::OPERATION,
    unary::OPERATION,
];

/// The gradient of an operand that was broadcast: summed back to the operand's shape.
fn unbroadcast(grad: Tensor, like: crate::shape::Shape) -> Tensor {
    if grad.shape() == like { grad } else { grad.sum_to(like) }
}

#[cfg(test)]
mod tests;
