//! Functions to differentiate numerically.

use crate::dtype::DType;
use crate::random::Key;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A function of tensors.
pub(crate) type Function = Box<dyn Fn(&[Tensor]) -> Tensor>;

/// A function of double-precision inputs, and a place to differentiate it at.
pub(crate) struct Sample {
    /// What is special about this sample.
    pub(crate) what: String,
    /// The place.
    pub(crate) inputs: Vec<Tensor>,
    /// The function; its result may have any shape.
    pub(crate) function: Function,
}

impl Sample {
    /// A sample of `function` at `inputs`.
    pub(crate) fn new(
        what: impl Into<String>,
        inputs: Vec<Tensor>,
        function: impl Fn(&[Tensor]) -> Tensor + 'static,
    ) -> Self {
        Self { what: what.into(), inputs, function: Box::new(function) }
    }
}

/// Draws sizes and values.
pub(crate) struct Sampler {
    key: Key,
    drawn: u64,
}

impl Sampler {
    /// Draws from `key`.
    pub(crate) fn new(key: Key) -> Self {
        Self { key, drawn: 0 }
    }

    fn next(&mut self) -> Key {
        self.drawn += 1;
        self.key.with(self.drawn)
    }

    /// A size in `low..=high`.
    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        low + self.next().below((high - low + 1) as u64) as usize
    }

    /// Normal values.
    pub(crate) fn normal(&mut self, shape: impl Into<Shape>) -> Tensor {
        let key = self.next();
        Tensor::randn(shape, DType::F64, key)
    }

    /// Values in `[low, high)`.
    pub(crate) fn uniform(&mut self, shape: impl Into<Shape>, low: f64, high: f64) -> Tensor {
        let key = self.next();
        Tensor::rand(shape, low, high, DType::F64, key)
    }

    /// Whole numbers in `0..n`, as `i64`.
    pub(crate) fn indices(&mut self, shape: impl Into<Shape>, n: usize) -> Tensor {
        let key = self.next();
        Tensor::rand(shape, 0.0, n as f64, DType::F64, key).to_dtype(DType::I64)
    }

    /// A key for an operation that draws itself.
    pub(crate) fn key(&mut self) -> Key {
        self.next()
    }
}
