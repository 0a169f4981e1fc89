//! Vectors, one for each text, into files.

mod npy;
mod parquet;

pub use npy::write_npy;
pub use parquet::write_parquet;
