#![forbid(unsafe_code)]
//! Models: architectures, generation, and Hugging Face's checkpoint files in and out.
//!
//! A [`ModelConfig`] is checked before anything is allocated; it [builds](ModelConfig::build) a
//! [`LanguageModel`], whose parameters carry the names of Hugging Face's checkpoints.
//!
//! ```
//! use rappel_model::{Gpt2Config, LanguageModel, ModelConfig};
//! use rappel_nn::Forward;
//! use rappel_tensor::{CrossEntropy, Key, Params, Tensor};
//!
//! let config = Gpt2Config {
//!     n_layer: 2, n_head: 2, n_embd: 32, n_positions: 16, vocab_size: 61,
//!     ..Gpt2Config::default()
//! };
//! let mut params = Params::new(42);
//! let model = config.build(&mut params);
//!
//! let ids = Tensor::from_slice(&[5_i64, 9, 2, 7], [1, 4]);
//! let targets = Tensor::from_slice(&[9_i64, 2, 7, 1], [1, 4]);
//! let step = Forward::training(Key::new(42).with(0));
//! let loss = model.loss(&ids, &targets, None, &CrossEntropy::default(), &step);
//! assert!((loss.item() - 61_f64.ln()).abs() < 0.2);
//! let grads = loss.backward();
//! assert!(grads.missing(&params.layout()).is_empty());
//! ```

mod activation_name;
mod activations;
mod alternating;
mod architectures;
mod cache;
mod decoder;
mod dtype;
mod encoder;
mod encoders;
mod files;
mod generate;
mod gguf_dialect;
mod image_models;
mod language_model;
mod predictors;
mod raters;
mod recommenders;
mod rope;
mod sampling;

pub use activation_name::ActivationName;
pub use activations::{activation_bytes, encoder_activation_bytes, product_size};
pub use alternating::{Alternating, TakenBy, TakenItems};
pub use architectures::{
    ARCHITECTURES, Architecture, Common, Configure, Gemma2Config, Gemma3TextConfig, Gpt2Config,
    LlamaConfig, MistralConfig, MixtralConfig, Olmo2Config, Olmo3Config, OlmoeConfig, Phi3Config,
    Qwen2Config, Qwen3Config, Qwen3MoeConfig, SmolLm3Config,
};
pub use cache::Cache;
pub use encoder::{
    Encoder, EncoderArchitecture, EncoderConfig, EncoderTask, EncoderTexts, Labels, Pooling,
    Problem, unit_length,
};
pub use encoders::{
    BertConfig, ClassifierPooling, DistilBertConfig, ENCODERS, ModernBertConfig, RobertaConfig,
    XlmRobertaConfig,
};
pub use files::gguf;
pub use files::{
    EncoderFiles, FilesError, ModelFiles, Pretrained, PretrainedEncoder, SCORE, Scorer,
    SentenceLayout, WeightStorage, load_pretrained, load_weights, save_pretrained,
};
pub use files::{ImageModelFiles, PretrainedImageModel};
pub use generate::{
    Chosen, GenerateError, GenerateOptions, Generation, Generations, Past, Stop, check_prompt,
    generate, generate_after, generate_together,
};
pub use gguf_dialect::GgufDialect;
pub use image_models::{
    ConfigureImageModel, IMAGE_MODELS, ImageModel, ImageModelConfig, ImageShape, PretrainedImages,
    image_model_dtype,
};
pub use language_model::{Documents, LanguageModel, ModelConfig};
pub use predictors::{Configured, PREDICTORS, Predictor, PredictorConfig};
pub use raters::{FieldBatch, FieldSizes, RATERS, Rated, Rater, RaterConfig, RaterOptions};
pub use recommenders::{
    ItemVectors, RECOMMENDERS, Recommender, RecommenderConfig, Sizes, Users, recommender_dtype,
};
pub use rope::{RopeOptions, RopeParameters, RopeTable, RopeType};
pub use sampling::{Sampling, SamplingError};
/// The crate whose objects `config.json` is written from.
pub use serde_json;
