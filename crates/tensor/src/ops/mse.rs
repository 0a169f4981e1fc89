//! Mean squared error.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Formula;
use crate::kernels::map::map;
use crate::kernels::reduce::sum_middle;
use crate::real::Real;
use crate::tensor::Tensor;

/// `(a - b)^2`.
#[derive(Clone, Copy)]
struct Squared;
impl Formula<2> for Squared {
    #[inline(always)]
    fn eval<R: Real>(&self, [a, b]: [R; 2]) -> R {
        (a - b).square()
    }
}

/// `factor g (a - b)`.
#[derive(Clone, Copy)]
struct Slope {
    factor: f64,
}
impl Formula<3> for Slope {
    #[inline(always)]
    fn eval<R: Real>(&self, [g, a, b]: [R; 3]) -> R {
        R::of(self.factor) * g * (a - b)
    }
}

/// The mean over all elements of `(prediction - target)^2`, a scalar: PyTorch's `mse_loss`.
/// Gradients flow to both.
///
/// ```
/// use rappel_tensor::{Tensor, mse};
/// let prediction = Tensor::from_slice(&[1.0_f32, 5.0], [2]);
/// assert_eq!(mse(&prediction, &Tensor::from_slice(&[1.0_f32, 2.0], [2])).item(), 4.5);
/// ```
///
/// # Panics
/// Where the shapes differ: one that only broadcasts is most often a mistake.
#[track_caller]
#[must_use]
pub fn mse(prediction: &Tensor, target: &Tensor) -> Tensor {
    let (a, b) = (prediction.detach(), target.detach());
    assert!(
        a.shape() == b.shape(),
        "mse: prediction {} and target {} differ in shape",
        a.shape(),
        b.shape()
    );
    let count = a.count();
    let mean = sum_middle(&map("mse", [&a, &b], Squared), 1, count, 1).reshape(()) / count as f64;
    mean.record(&[prediction, target], move |grad, sink| {
        let factor = 2.0 / count as f64;
        sink.add(0, || map("mse", [&grad, &a, &b], Slope { factor }));
        sink.add(1, || map("mse", [&grad, &b, &a], Slope { factor }));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "mse",
    samples: |draw| {
        let shape = [draw.size(1, 4), draw.size(1, 5)];
        let inputs = vec![draw.normal(shape), draw.normal(shape)];
        vec![Sample::new("mse", inputs, |x| mse(&x[0], &x[1]))]
    },
};
