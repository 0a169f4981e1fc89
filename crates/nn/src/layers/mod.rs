//! Layers: a file each. Each registers its parameters through a [`Scope`](rappel_tensor::Scope)
//! under PyTorch's names; clones are cheap and share them.

mod activation;
mod batch_norm2d;
mod conv2d;
mod dropout;
mod embedding;
mod features;
mod gated_mlp;
mod group_norm;
mod layer_norm;
mod linear;
mod mlp;
mod rms_norm;
mod transposed_linear;

pub use activation::Activation;
pub use batch_norm2d::BatchNorm2d;
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use features::Features;
pub use gated_mlp::GatedMlp;
pub use group_norm::GroupNorm;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use mlp::Mlp;
pub use rms_norm::RmsNorm;
pub use transposed_linear::TransposedLinear;
