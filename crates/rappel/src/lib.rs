#![forbid(unsafe_code)]
//! Train and fine-tune models: this crate gathers the others.
//!
//! A line through noisy points, by gradient descent:
//!
//! ```
//! use rappel::prelude::*;
//!
//! let x = Tensor::rand([100, 1], 0.0, 1.0, DType::F32, Key::new(0));
//! let y = 2.0 * &x + 1.0 + 0.1 * Tensor::randn([100, 1], DType::F32, Key::new(1));
//!
//! let mut params = Params::new(42);
//! let net = Linear::new(&mut params.scope("net"), 1, 1);
//! let mut sgd = Optimizer::new(Sgd { lr: 0.01.into(), momentum: 0.9.into(), ..default() }, &params)?;
//! for epoch in 0..1000 {
//!     let loss = mse(&net.forward(&x), &y) + l2(&params, 1e-4);
//!     sgd.step(epoch, &mut params, &loss.backward())?;
//! }
//!
//! let [slope, intercept] = ["net.weight", "net.bias"].map(|n| params.get(n).unwrap().tensor().item());
//! assert!((slope - 2.0).abs() < 0.1 && (intercept - 1.0).abs() < 0.1);
//! # Ok::<(), OptimError>(())
//! ```
//!
//! [`tensor`] holds what everything stands on; [`optim`] the update rules; [`train`] whole runs.
//!
//! # Features
//! All are on by default. A program of its own loops, with tensors, optimizers and schedules alone, sets
//! `default-features = false` and builds in a fraction of the time.
//!
//! | feature | brings |
//! |---|---|
//! | `train` | whole runs with checkpoints, resume and telemetry; needs all others |
//! | `model` | language models, Hugging Face's files, generation; needs `nn` |
//! | `text` | text from its sources, tokenizers, conversations; needs `tables` |
//! | `tables` | CSV and Parquet; interactions of users with items |
//! | `images` | folders and lists of images, augmentations |
//! | `data` | what a dataset is, and which samples a step takes; `text`, `tables` and `images` need it |
//! | `nn` | layers, losses, regularizers |
//! | `decompositions` | the rules that decompose matrices: APOLLO, GaLore, Shampoo, SOAP |

pub use rappel_config as config;
#[cfg(feature = "data")]
pub use rappel_data as data;
#[cfg(feature = "train")]
pub use rappel_files as files;
#[cfg(feature = "model")]
pub use rappel_model as model;
#[cfg(feature = "nn")]
pub use rappel_nn as nn;
pub use rappel_optim as optim;
#[cfg(feature = "nn")]
pub use rappel_regularize as regularize;
pub use rappel_schedule as schedule;
#[cfg(feature = "train")]
pub use rappel_telemetry as telemetry;
pub use rappel_tensor as tensor;
#[cfg(feature = "train")]
pub use rappel_train as train;

/// A type's default: for the options that a struct leaves as they are, `..default()`.
///
/// ```
/// use rappel::prelude::*;
/// let adamw = AdamW { lr: 3e-4.into(), ..default() };
/// ```
pub fn default<T: Default>() -> T {
    T::default()
}

/// What most programs use.
pub mod prelude {
    pub use crate::default;
    #[cfg(feature = "data")]
    pub use rappel_data::{Dataset, HeldOut};
    #[cfg(feature = "model")]
    pub use rappel_model::{
        GenerateOptions, Gpt2Config, LanguageModel, LlamaConfig, ModelConfig, Sampling, generate,
        load_pretrained, save_pretrained,
    };
    #[cfg(feature = "nn")]
    pub use rappel_nn::{Activation, Dropout, Embedding, Forward, LayerNorm, Linear, Mlp, RmsNorm};
    pub use rappel_optim::{Adam, AdamW, OptimError, Optimizer, OptimizerConfig, Sgd, StepReport};
    #[cfg(feature = "nn")]
    pub use rappel_regularize::{Regularization, elastic_net, group_lasso, l1, l2, orthogonal};
    pub use rappel_schedule::{
        Schedule, ScheduleFn, constant, cosine, cosine_cycles, linear_decay, linear_warmup,
    };
    pub use rappel_tensor::{
        CrossEntropy, DType, Grads, Init, Key, Param, Params, ParamsError, Scope, Shape, Tensor,
        TensorFile, WeightLayout, cross_entropy, linear, mse, no_grad, write_tensors,
    };
    #[cfg(feature = "train")]
    pub use rappel_train::{
        Config, Ended, Learner, Model, Objective, Observer, Pass, Report, Run, TrainError,
    };
}

/// The examples of README.md are compiled and run as documentation tests.
#[cfg(all(doctest, feature = "train"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
