//! Operations: one file each, with shapes, forward, backward and samples for the gradient check.
//!
//! Adding one is a file, its `mod` line and its line in `OPERATIONS`; a test compares the folder
//! with the list, and differentiates every sample numerically.

mod attention;
mod avg_pool2d;
mod batch_norm;
mod compare;
mod concat;
mod conv2d;
mod conv_transpose2d;
mod cross_entropy;
mod dropout;
mod elementwise;
mod embedding;
mod extrema;
mod gated;
mod gather;
mod group_norm;
mod interpolate;
mod layer_norm;
mod linear;
mod log_probs;
mod matmul;
mod max_pool2d;
mod mse;
mod one_hot_linear;
mod quantized;
mod rms_norm;
mod rotary;
mod row_products;
#[cfg(test)]
mod sample;
mod softcap;
mod softmax;
mod sum;
mod unary;

use crate::tensor::Tensor;

pub use attention::{AttentionOptions, attention, attention_packed};
pub use avg_pool2d::{Pool2dOptions, adaptive_avg_pool2d, avg_pool2d};
pub use batch_norm::{BatchMoments, batch_norm, batch_norm_training};
pub use compare::{Comparand, select};
pub use concat::{concat, stack};
pub use conv_transpose2d::conv_transpose2d;
pub use conv2d::{Conv2dOptions, conv2d};
use cross_entropy::linear_cross_entropy_of;
pub use cross_entropy::{
    CrossEntropy, cross_entropy, linear_cross_entropy, linear_cross_entropy_bytes,
};
pub use dropout::dropout;
pub use embedding::embedding;
pub use gated::{gated_gelu, gated_gelu_tanh, gated_silu};
pub use group_norm::group_norm;
pub use interpolate::{Interpolation, interpolate};
pub use layer_norm::layer_norm;
pub use linear::{WeightLayout, linear};
pub use log_probs::linear_log_probs;
use log_probs::linear_log_probs_of;
pub use max_pool2d::max_pool2d;
pub use mse::mse;
pub use one_hot_linear::one_hot_linear;
pub use rms_norm::{rms_norm, rms_norm_plus_one};
pub use rotary::rotary;
pub use row_products::row_products;
#[cfg(test)]
pub(crate) use sample::{Sample, Sampler};

/// A differentiable operation, with samples to check its gradient on.
#[cfg(test)]
pub(crate) struct Operation {
    /// The name of its file.
    pub name: &'static str,
    /// Draws functions of it to differentiate, on random shapes.
    pub samples: fn(&mut Sampler) -> Vec<Sample>,
}

/// Every differentiable operation.
#[cfg(test)]
pub(crate) const OPERATIONS: &[Operation] = &[
    attention::OPERATION,
    avg_pool2d::OPERATION,
    batch_norm::OPERATION,
    compare::OPERATION,
    concat::OPERATION,
    conv2d::OPERATION,
    conv_transpose2d::OPERATION,
    cross_entropy::OPERATION,
    dropout::OPERATION,
    elementwise::OPERATION,
    embedding::OPERATION,
    extrema::OPERATION,
    gated::OPERATION,
    gather::OPERATION,
    group_norm::OPERATION,
    interpolate::OPERATION,
    layer_norm::OPERATION,
    linear::OPERATION,
    log_probs::OPERATION,
    matmul::OPERATION,
    max_pool2d::OPERATION,
    mse::OPERATION,
    one_hot_linear::OPERATION,
    quantized::OPERATION,
    rms_norm::OPERATION,
    rotary::OPERATION,
    row_products::OPERATION,
    softcap::OPERATION,
    softmax::OPERATION,
    sum::OPERATION,
    unary::OPERATION,
];

/// The gradient of an operand that was broadcast: summed back to the operand's shape.
fn unbroadcast(grad: Tensor, like: crate::shape::Shape) -> Tensor {
    if grad.shape() == like { grad } else { grad.sum_to(like) }
}

#[cfg(test)]
mod tests;
