#![forbid(unsafe_code)]
//! Regularizers: techniques that reduce overfitting.
//!
//! In code a penalty is a number to add to a loss:
//!
//! ```
//! use rappel_regularize::l2;
//! use rappel_tensor::{DType, Init, Params, Tensor, mse};
//! let mut params = Params::new(0);
//! let w = params.scope("net").add("weight", [1, 3], Init::ONES);
//! let (x, y) = (Tensor::ones([4, 3], DType::F32), Tensor::zeros([4, 1], DType::F32));
//! let loss = mse(&x.matmul(&w.tensor().t()), &y) + l2(&params, 1e-3);
//! assert!((loss.item() - 9.003).abs() < 1e-5);
//! ```
//!
//! In a config, each table of the list `[[regularize]]` names an entry of [`REGULARIZERS`]; together
//! they are a [`Regularization`], which a training loop asks for what it needs at each step.
//!
//! # Adding one
//! A file in `regularizers/` with its equation and its `ENTRY`, and its two lines in
//! `regularizers/mod.rs`.

mod forms;
mod loss;
mod noise;
mod penalty;
mod regularization;
mod regularizers;
mod weights;

pub use forms::set_forms;
pub use loss::{LossTerms, symmetric_divergence};
pub use noise::{Mixup, Noise};
pub use penalty::{Axis, Constraint, Penalty};
pub use regularization::Regularization;
pub use regularizers::elastic_net::{ElasticNet, elastic_net};
pub use regularizers::group_lasso::{GroupLasso, group_lasso};
pub use regularizers::l1::{L1, l1};
pub use regularizers::l2::{L2, l2};
pub use regularizers::max_norm::MaxNorm;
pub use regularizers::orthogonal::{Orthogonal, orthogonal};
pub use regularizers::{ActsOn, REGULARIZERS, Regularizer, Technique};
pub use weights::{NoWeights, Weights};
