//! A matrix of a layer, however it is stored.

use std::sync::Arc;

use super::Quantized;
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A matrix of a layer: numbers, or a few bits each.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Numbers, which may be trained.
    Dense(Tensor),
    /// A few bits a number, and the type that its products are computed in.
    Quantized(Arc<Quantized>, DType),
}

impl Weight {
    /// The sizes.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Dense(tensor) => tensor.shape(),
            Self::Quantized(quantized, _) => quantized.shape(),
        }
    }

    /// The type of the numbers that layers see.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Dense(tensor) => tensor.dtype(),
            Self::Quantized(_, dtype) => *dtype,
        }
    }

    /// All numbers.
    #[must_use]
    pub fn tensor(&self) -> Tensor {
        match self {
            Self::Dense(tensor) => tensor.clone(),
            Self::Quantized(quantized, dtype) => quantized.dequantize(*dtype),
        }
    }

    /// The same without the graph behind it.
    #[must_use]
    pub fn detach(&self) -> Self {
        match self {
            Self::Dense(tensor) => Self::Dense(tensor.detach()),
            Self::Quantized(..) => self.clone(),
        }
    }
}

impl From<Tensor> for Weight {
    fn from(tensor: Tensor) -> Self {
        Self::Dense(tensor)
    }
}
