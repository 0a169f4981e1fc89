//! Checkpoint files, as Hugging Face lays them out.
//!
//! A directory holds `config.json` and `model.safetensors`, or several files of tensors under
//! `model.safetensors.index.json`.

mod bitsandbytes;
mod encoder;
mod error;
pub mod gguf;
mod image;
mod load;
mod registered;
mod save;
mod scorer;
mod sentence;
mod storage;
mod weights;

pub use encoder::{EncoderFiles, PretrainedEncoder};
pub use error::FilesError;
pub use image::{ImageModelFiles, PretrainedImageModel};
pub use load::{ModelFiles, Pretrained, load_pretrained, load_weights};
pub use save::save_pretrained;
pub use scorer::{SCORE, Scorer};
pub use sentence::SentenceLayout;
pub use storage::WeightStorage;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
