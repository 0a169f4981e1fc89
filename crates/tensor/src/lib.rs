//! Tensors, automatic differentiation and the kernels of training.
//!
//! The way in: [`Tensor`] and its methods, [`Params`] for what is trained, [`Tensor::backward`] for
//! [`Grads`], [`Real`] for formulas that run as fast as memory allows.
#![deny(unsafe_code)]

mod autograd;
mod cpu;
mod cuda;
mod device;
mod dtype;
mod kernels;
#[allow(unsafe_code)]
mod memory;
pub mod ops;
mod out_of_memory;
mod params;
mod precision;
pub mod profile;
mod quantized;
mod random;
#[allow(unsafe_code)]
mod real;
mod shape;
mod storage;
#[allow(unsafe_code)]
mod tensor;

pub use autograd::{checkpoint, is_recording, no_grad};
pub use cuda::{
    DeviceInfo, DevicesReport, KernelRate, LibraryInfo, devices, fallbacks, kernel_rates,
};
pub use device::{Device, DeviceError, device_failure};
pub use dtype::{DType, Element, Float};
/// The element of [`DType::BF16`].
pub use half::bf16;
pub use kernels::matmul::{Bf16Kernel, bf16_kernel, check_bf16_kernel};
pub use kernels::update::{MAX_SLOTS, Memory, Reduce, Run, Runs, STATE_BLOCK, StateArena};
pub use kernels::update::{StateKind, TableRows, Trained, Update, Wrap, Wrapping, apply, reduce};
pub use kernels::update::{reduce_all, reduce_each, update, update_each, update_rows};
pub use memory::{MappedFile, PoolStats, pool_stats, release_unused_memory};
pub use ops::{AttentionOptions, attention, attention_packed, layer_norm};
pub use ops::{BatchMoments, batch_norm, batch_norm_training, group_norm};
pub use ops::{Comparand, concat, select, stack};
pub use ops::{Conv2dOptions, conv_transpose2d, conv2d};
pub use ops::{CrossEntropy, cross_entropy, dropout, embedding, linear_cross_entropy};
pub use ops::{Interpolation, interpolate};
pub use ops::{Pool2dOptions, adaptive_avg_pool2d, avg_pool2d, max_pool2d};
pub use ops::{WeightLayout, linear, mse, one_hot_linear};
pub use ops::{gated_gelu, gated_gelu_tanh, gated_silu, rms_norm, rms_norm_plus_one, rotary};
pub use ops::{linear_cross_entropy_bytes, linear_log_probs, row_products};
pub use out_of_memory::{OutOfMemory, out_of_memory};
pub use params::Scope;
pub use params::{
    Adapted, ArenaLayout, Arenas, Entry, Form, Grads, Init, LowRank, MatrixUse, OpenParam, Param,
    Params, ParamsError, Running,
};
pub use precision::{MatmulPrecision, matmul_precision, with_matmul_precision};
pub use quantized::{BlockFormat, CodeBook, Quantized, QuantizedForm, Scales, Weight};
pub use random::Key;
pub use real::{C_FLOAT, Program, Traced, TracedMask, trace};
pub use real::{Kernel, Lanes, Level, Real, Simd, Stored, check_level, dispatch, level};
pub use shape::{MAX_RANK, Shape};
pub use storage::{StorageError, StreamedTensor, TensorFile, write_tensors, write_tensors_to};
pub use tensor::Tensor;
