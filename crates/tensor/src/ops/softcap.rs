//! Soft limits.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Formula;
use crate::kernels::map::map;
use crate::real::Real;
use crate::tensor::Tensor;

/// `cap tanh(x / cap)`.
#[derive(Clone, Copy)]
struct SoftCap(f64);
impl Formula<1> for SoftCap {
    #[inline(always)]
    fn eval<R: Real>(&self, [x]: [R; 1]) -> R {
        (x / R::of(self.0)).tanh() * R::of(self.0)
    }
}

/// From the upstream gradient and the output.
#[derive(Clone, Copy)]
struct SoftCapGrad(f64);
impl Formula<2> for SoftCapGrad {
    #[inline(always)]
    fn eval<R: Real>(&self, [g, y]: [R; 2]) -> R {
        let t = y / R::of(self.0);
        g * (R::of(1.0) - t * t)
    }
}

impl Tensor {
    /// `cap tanh(x / cap)`: about `x` where it is small, and never beyond `cap`. Gemma 2 limits its logits so.
    ///
    /// # Panics
    /// Where `cap` is not positive.
    ///
    /// ```
    /// use rappel_tensor::Tensor;
    /// let x = Tensor::from_slice(&[0.0_f64, 1e9], [2]);
    /// assert_eq!(x.softcap(30.0).to_vec::<f64>(), [0.0, 30.0]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn softcap(&self, cap: f64) -> Self {
        assert!(cap > 0.0, "softcap: the cap is {cap}, not positive");
        let y = map("softcap", [self], SoftCap(cap));
        let saved = y.clone();
        y.record(&[self], move |grad, sink| {
            sink.add(0, || map("softcap", [&grad, &saved], SoftCapGrad(cap)));
        })
    }
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "softcap",
    samples: |draw| {
        let (n, m) = (draw.size(1, 5), draw.size(1, 20));
        vec![Sample::new("plain", vec![draw.normal([n, m])], |x| x[0].softcap(0.8))]
    },
};
