#![forbid(unsafe_code)]
//! Building blocks of models: layers, the context of a forward pass, losses and their terms.
//!
//! ```
//! use rappel_nn::{Activation, Forward, Linear, RmsNorm};
//! use rappel_tensor::{DType, Params, Tensor};
//!
//! let mut params = Params::new(42);
//! let norm = RmsNorm::new(&mut params.scope("norm"), 8, 1e-6);
//! let up = Linear::without_bias(&mut params.scope("up"), 8, 32);
//! let down = Linear::without_bias(&mut params.scope("down"), 32, 8);
//!
//! let x = Tensor::ones([2, 3, 8], DType::F32);
//! let branch = down.forward(&Activation::Silu.forward(&up.forward(&norm.forward(&x))));
//! let y = Forward::evaluation().residual(&x, branch);
//! assert_eq!(y.shape(), x.shape());
//! assert_eq!(params.names(), ["norm.weight", "up.weight", "down.weight"]);
//! ```

mod adapted;
mod forward;
mod head;
mod layers;
mod output;
mod regularized;
mod rope;
mod values;

pub use forward::Forward;
pub use head::Head;
pub use layers::{
    Activation, BatchNorm2d, Conv2d, Dropout, Embedding, Features, GatedMlp, GroupNorm, LayerNorm,
    Linear, Mlp, RmsNorm, TransposedLinear,
};
pub use output::Output;
pub use regularized::regularized_cross_entropy;
pub use rope::{Rope, RopeScaling};
pub use values::Values;
