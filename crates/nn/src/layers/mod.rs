//! Layers: a file each. Each registers its parameters through a [`Scope`](rappel_tensor::Scope)
//! under PyTorch's names; clones are cheap and share them.

mod activation;
mod dropout;
mod embedding;
mod features;
mod gated_mlp;
mod layer_norm;
mod linear;
mod mlp;
mod rms_norm;
mod transposed_linear;

pub use activation::Activation;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use features::Features;
pub use gated_mlp::GatedMlp;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use mlp::Mlp;
pub use rms_norm::RmsNorm;
pub use transposed_linear::TransposedLinear;
