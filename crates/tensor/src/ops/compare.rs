//! Comparisons, and choosing by their answers.

use super::unbroadcast;
#[cfg(test)]
#[cfg(test)]
use super::{Operation, Sample};
use crate::dtype::{DType, Element};
use crate::kernels::lines;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::with_element;

/// What a tensor is compared with: another one, or a number.
#[derive(Debug, Clone, Copy)]
pub enum Comparand<'a> {
    /// Broadcast against the tensor; of the same type.
    Tensor(&'a Tensor),
    /// Rounded to the tensor's type, as in PyTorch; against integers exactly, up to 2^53.
    Number(f64),
}

impl<'a> From<&'a Tensor> for Comparand<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<f64> for Comparand<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $method:ident: |$a:ident, $b:ident| $answer:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// The mask is `u8`: 1 where it holds, else 0.
                #[track_caller]
                #[must_use]
                pub fn $method<'a>(&self, other: impl Into<Comparand<'a>>) -> Self {
                    let name = stringify!($method);
                    match other.into() {
                        Comparand::Tensor(other) => {
                            same_dtype(name, self, other);
                            with_element!(self.dtype(), T => {
                                lines::zip(name, self, other, |$a: T, $b: T| u8::from($answer))
                            })
                        }
                        Comparand::Number(number) if self.dtype().is_float() => {
                            let other = Tensor::scalar(number, self.dtype());
                            self.$method(&other)
                        }
                        Comparand::Number(number) => {
                            let other = Tensor::scalar(number, DType::F64);
                            with_element!(self.dtype(), T => {
                                lines::zip(name, self, &other, |a: T, $b: f64| {
                                    let $a = a.to_f64();
                                    u8::from($answer)
                                })
                            })
                        }
                    }
                }
            )*
        }
    };
}

comparisons! {
    /// Where elements are equal; NaN equals nothing.
    eq: |a, b| a == b;
    /// Where elements differ; NaN differs from everything.
    ne: |a, b| a != b;
    /// Where this tensor's elements are less.
    lt: |a, b| a < b;
    /// Where this tensor's elements are less or equal.
    le: |a, b| a <= b;
    /// Where this tensor's elements are greater.
    gt: |a, b| a > b;
    /// Where this tensor's elements are greater or equal.
    ge: |a, b| a >= b;
}

#[track_caller]
fn same_dtype(name: &str, a: &Tensor, b: &Tensor) {
    assert!(
        a.dtype() == b.dtype(),
        "{name}: operands are {} and {}; convert one with to_dtype",
        a.dtype(),
        b.dtype()
    );
}

/// `a` where `mask` (`u8`) is not zero, else `b`, broadcast together: PyTorch's `where`.
///
/// Gradients flow to the chosen side of each place, zero to the other.
///
/// # Panics
/// Where shapes do not broadcast together, or types differ.
///
/// ```
/// use rappel_tensor::{Tensor, select};
/// let x = Tensor::from_slice(&[-1.0_f32, 2.0], [2]);
/// assert_eq!(select(&x.gt(0.0), &x, &(&x * 0.1)).to_vec::<f32>(), [-0.1, 2.0]);
/// ```
#[track_caller]
#[must_use]
pub fn select(mask: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
    same_dtype("select", a, b);
    assert!(mask.dtype() == DType::U8, "select: the mask is {}, not u8", mask.dtype());
    let (sa, sb, dtype) = (a.shape(), b.shape(), a.dtype());
    let out = lines::select(mask, a, b);
    let mask = mask.detach();
    out.record(&[a, b], move |grad, sink| {
        let zero = Tensor::zeros((), dtype);
        let masked = |yes: &Tensor, no: &Tensor, like: Shape| {
            unbroadcast(lines::select(&mask, yes, no), like)
        };
        sink.add(0, || masked(&grad, &zero, sa));
        sink.add(1, || masked(&zero, &grad, sb));
    })
}

impl Tensor {
    /// This tensor with `value` where `mask` (`u8`), which must broadcast to its shape, is not zero.
    #[track_caller]
    #[must_use]
    pub fn masked_fill(&self, mask: &Tensor, value: f64) -> Self {
        let shape = self.shape();
        assert!(
            mask.shape().broadcast(&shape) == Some(shape),
            "masked_fill: mask {} does not broadcast to {shape}",
            mask.shape()
        );
        select(mask, &Tensor::scalar(value, self.dtype()), self)
    }
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "compare",
    samples: |draw| {
        let (n, m) = (draw.size(1, 5), draw.size(1, 5));
        let mut samples = Vec::new();
        for (a, b) in [([n, m], [n, m]), ([n, 1], [1, m]), ([1, 1], [n, m])] {
            let mask = draw.normal([n, m]).gt(0.0);
            let inputs = vec![draw.normal(a), draw.normal(b)];
            samples.push(Sample::new("select", inputs, move |x| select(&mask, &x[0], &x[1])));
        }
        let mask = draw.normal([m]).le(0.3);
        let inputs = vec![draw.normal([n, m])];
        samples.push(Sample::new("masked_fill", inputs, move |x| x[0].masked_fill(&mask, -2.0)));
        samples
    },
};
