//! Images with their classes: from files to batches of numbers.
//!
//! [`ImageConfig`] says where they are and what becomes of them; [`ImageSet`] holds them decoded, each pixel a byte;
//! [`ImageProcessing`] makes numbers of them, and an [`Augmentation`] random ones, as pure functions of a key.

mod augment;
mod colour;
mod decode;
mod geometry;
mod idx;
mod listing;
#[cfg(feature = "tables")]
mod parquet;
mod processing;
mod section;
mod set;

pub use augment::{Augmentation, AutoAugment};
pub use processing::{ImageProcessing, Normalization};
pub use section::{ImageConfig, ReadImages, Resampling};
pub use set::{Image, ImageBatch, ImageSet};
