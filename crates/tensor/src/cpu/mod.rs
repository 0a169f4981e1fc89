//! Kernels for processors: the loops under the operations.
//!
//! Work is cut into pieces of fixed size, whatever the number of threads, and reduced in a fixed
//! order, so that results are the same bits on any number of threads.
#![allow(unsafe_code)]

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod copy;
pub(crate) mod cross_entropy;
pub(crate) mod cross_entropy_linear;
pub(crate) mod dropout;
pub(crate) mod finite;
pub(crate) mod gemm;
pub(crate) mod index;
pub(crate) mod lines;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod one_hot;
pub(crate) mod pair;
pub(crate) mod parallel;
pub(crate) mod planes;
pub(crate) mod pool;
pub(crate) mod quantized;
pub(crate) mod reduce;
pub(crate) mod rotary;
pub(crate) mod row_products;
mod scratch;
pub(crate) mod separable;
pub(crate) mod softmax;
pub(crate) mod update;
