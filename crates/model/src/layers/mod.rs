//! Layers: a file each. Each registers its parameters through a [`Scope`](rappel_tensor::Scope)
//! under PyTorch's names; clones are cheap and share them.

mod activation;
mod conv1d;
mod dropout;
mod embedding;
mod features;
mod layer_norm;
mod linear;
mod mlp;
mod rms_norm;

use rappel_tensor::Init;

pub use activation::Activation;
pub use conv1d::Conv1D;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use features::Features;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use mlp::Mlp;
pub use rms_norm::RmsNorm;

/// Normal of this deviation, without drawing anything where that is 0.
pub(crate) fn normal(std: f64) -> Init {
    if std == 0.0 { Init::ZEROS } else { Init::Normal { std } }
}
