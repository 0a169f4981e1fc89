//! Making tensors.

use crate::dtype::{DType, Element};
use crate::random::Key;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::with_element;

impl Tensor {
    /// A tensor of these values in row-major order.
    ///
    /// # Panics
    /// Where their number is not that of the shape.
    #[track_caller]
    pub fn from_slice<T: Element>(values: &[T], shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert!(
            values.len() == shape.count(),
            "from_slice: {} values do not fill shape {shape}",
            values.len()
        );
        let mut tensor = Self::uninit(shape, T::DTYPE);
        tensor.slice_mut::<T>().copy_from_slice(values);
        tensor
    }

    /// A scalar.
    pub fn scalar(value: f64, dtype: DType) -> Self {
        Self::full((), value, dtype)
    }

    /// Every element `value`, rounded to `dtype`.
    pub fn full(shape: impl Into<Shape>, value: f64, dtype: DType) -> Self {
        let mut tensor = Self::uninit(shape.into(), dtype);
        with_element!(dtype, T => tensor.slice_mut::<T>().fill(T::from_f64(value)));
        tensor
    }

    /// Every element zero.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType) -> Self {
        Self::full(shape, 0.0, dtype)
    }

    /// Every element one.
    pub fn ones(shape: impl Into<Shape>, dtype: DType) -> Self {
        Self::full(shape, 1.0, dtype)
    }

    /// `0, 1, ..., n - 1`.
    pub fn arange(n: usize, dtype: DType) -> Self {
        let mut tensor = Self::uninit(n.into(), dtype);
        with_element!(dtype, T => {
            for (i, x) in tensor.slice_mut::<T>().iter_mut().enumerate() {
                *x = T::from_f64(i as f64);
            }
        });
        tensor
    }

    /// `n` numbers evenly from `start` to `end`, both included.
    pub fn linspace(start: f64, end: f64, n: usize, dtype: DType) -> Self {
        let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
        let mut tensor = Self::uninit(n.into(), dtype);
        with_element!(dtype, T => {
            for (i, x) in tensor.slice_mut::<T>().iter_mut().enumerate() {
                *x = T::from_f64(step.mul_add(i as f64, start));
            }
        });
        tensor
    }

    /// Independent normal numbers of mean 0 and variance 1, a pure function of `key`.
    pub fn randn(shape: impl Into<Shape>, dtype: DType, key: Key) -> Self {
        let mut tensor = Self::uninit(shape.into(), dtype);
        with_element!(dtype, T => key.fill_normal(tensor.slice_mut::<T>(), 0.0, 1.0));
        tensor
    }

    /// Independent numbers uniform in `[low, high)`, a pure function of `key`.
    pub fn rand(shape: impl Into<Shape>, low: f64, high: f64, dtype: DType, key: Key) -> Self {
        let mut tensor = Self::uninit(shape.into(), dtype);
        with_element!(dtype, T => key.fill_uniform(tensor.slice_mut::<T>(), low, high));
        tensor
    }
}
