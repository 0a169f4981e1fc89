//! Reading values.

use crate::dtype::Element;
use crate::kernels;
use crate::tensor::Tensor;
use crate::with_element;

impl Tensor {
    /// The values in row-major order.
    ///
    /// # Panics
    /// Where `T` is not the tensor's type; [`to_f64_vec`](Tensor::to_f64_vec) converts.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        assert!(
            T::DTYPE == self.dtype,
            "to_vec: the tensor holds {}, not {}",
            self.dtype,
            T::DTYPE
        );
        if self.is_contiguous() {
            return self.slice().to_vec();
        }
        kernels::copy::contiguous(self).slice().to_vec()
    }

    /// The values in row-major order, where they lie.
    ///
    /// # Panics
    /// Where `T` is not the tensor's type, or the values do not lie in that order.
    #[track_caller]
    pub fn as_slice<T: Element>(&self) -> &[T] {
        assert!(
            T::DTYPE == self.dtype && self.is_contiguous(),
            "as_slice: the tensor holds {}{}, wanted is {} in order",
            self.dtype,
            if self.is_contiguous() { "" } else { " out of order" },
            T::DTYPE
        );
        self.slice()
    }

    /// The values in row-major order, as `f64`.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        with_element!(self.dtype, T => self.to_vec::<T>().into_iter().map(T::to_f64).collect())
    }

    /// The value of a tensor of one element.
    ///
    /// # Panics
    /// With any other number of elements.
    #[track_caller]
    pub fn item(&self) -> f64 {
        assert!(self.count() == 1, "item: needs one element, got shape {}", self.shape());
        // SAFETY: one element lies at the layout's offset.
        with_element!(self.dtype, T => unsafe { self.ptr::<T>().read() }.to_f64())
    }

    /// The sum of the squares, as [`Grads::norm`](crate::Grads::norm) adds them up.
    ///
    /// # Panics
    /// Where the elements are not floating-point numbers.
    #[track_caller]
    pub fn sum_of_squares(&self) -> f64 {
        kernels::reduce::sum_of_squares(&self.contiguous())
    }

    /// The position in row-major order of the first NaN or infinity; found at the speed of memory.
    pub fn first_non_finite(&self) -> Option<usize> {
        if !self.dtype.is_float() {
            return None;
        }
        kernels::finite::first_non_finite(&self.contiguous())
    }
}
