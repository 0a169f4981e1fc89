//! Softmax, its logarithm, and the logarithm of a sum of exponentials.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::RowKind;
use crate::kernels::softmax::rows;
use crate::tensor::Tensor;

impl Tensor {
    /// `exp(x) / sum(exp(x))` along dimension `axis`: numbers that add up to one.
    ///
    /// The largest element is subtracted first, so that nothing overflows. Fastest along the last
    /// dimension; others are brought there by a copy. PyTorch's `softmax`.
    ///
    /// ```
    /// use rappel_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1000.0_f32, 1000.0], [2]);
    /// assert_eq!(x.softmax(0).to_vec::<f32>(), [0.5, 0.5]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn softmax(&self, axis: usize) -> Self {
        self.along("softmax", axis, RowKind::Softmax, RowKind::SoftmaxGrad)
    }

    /// `x - ln(sum(exp(x)))` along dimension `axis`: the logarithm of [`softmax`](Self::softmax),
    /// without its loss of digits. PyTorch's `log_softmax`.
    ///
    /// ```
    /// use rappel_tensor::Tensor;
    /// let x = Tensor::from_slice(&[0.0_f64, -1000.0], [2]);
    /// assert_eq!(x.log_softmax(0).to_vec::<f64>(), [0.0, -1000.0]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn log_softmax(&self, axis: usize) -> Self {
        self.along("log_softmax", axis, RowKind::LogSoftmax, RowKind::LogSoftmaxGrad)
    }

    /// `ln(sum(exp(x)))` over dimension `axis`, which disappears; a smooth maximum. Minus infinity
    /// where all elements are. PyTorch's `logsumexp`.
    ///
    /// ```
    /// use rappel_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1000.0_f64, 1000.0], [2]);
    /// assert_eq!(x.logsumexp(0).item(), 1000.0 + 2.0_f64.ln());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn logsumexp(&self, axis: usize) -> Self {
        let x = self.detach().last("logsumexp", axis);
        let saved = x.clone();
        let out = rows("logsumexp", RowKind::LogSumExp, &x, None);
        let last = out.rank() - 1;
        let out = out.transpose(axis, last).squeeze(axis);
        out.record(&[self], move |grad, sink| {
            // The gradient of the sum is the softmax.
            sink.add(0, || {
                let share = rows("logsumexp", RowKind::Softmax, &saved, None).transpose(axis, last);
                share * grad.unsqueeze(axis)
            });
        })
    }

    /// Dimension `axis` brought to the end, in order.
    #[track_caller]
    fn last(&self, name: &str, axis: usize) -> Self {
        let rank = self.rank();
        assert!(axis < rank, "{name}: no dimension {axis} in {}", self.shape());
        self.transpose(axis, rank - 1).contiguous()
    }

    #[track_caller]
    fn along(&self, name: &'static str, axis: usize, forward: RowKind, backward: RowKind) -> Self {
        let y = rows(name, forward, &self.detach().last(name, axis), None);
        let (saved, last) = (y.clone(), y.rank() - 1);
        y.transpose(axis, last).record(&[self], move |grad, sink| {
            sink.add(0, || {
                let grad = grad.last(name, axis);
                rows(name, backward, &saved, Some(&grad)).transpose(axis, last)
            });
        })
    }
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "softmax",
    samples: |draw| {
        let shape = [draw.size(1, 3), draw.size(1, 4), draw.size(1, 19)];
        let mut samples = Vec::new();
        for axis in 0..3 {
            let x = vec![draw.normal(shape)];
            let what = |name: &str| format!("{name} of dimension {axis}");
            samples.push(Sample::new(what("softmax"), x.clone(), move |x| x[0].softmax(axis)));
            let log = Sample::new(what("log_softmax"), x.clone(), move |x| x[0].log_softmax(axis));
            samples.push(log);
            samples.push(Sample::new(what("logsumexp"), x, move |x| x[0].logsumexp(axis)));
        }
        samples
    },
};

#[cfg(test)]
mod tests {
    use crate::dtype::DType;
    use crate::random::Key;
    use crate::tensor::Tensor;

    #[test]
    fn every_type_and_width_follows_the_formula() {
        for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 2e-6), (DType::BF16, 4e-2)] {
            for width in [1, 2, 7, 8, 15, 16, 17, 33, 131] {
                let x = Tensor::randn([5, width], DType::F64, Key::new(width as u64)) * 4.0;
                let x = x.to_dtype(dtype);
                let (soft, log) = (x.softmax(1).to_f64_vec(), x.log_softmax(1).to_f64_vec());
                let sums = x.logsumexp(1).to_f64_vec();
                for (r, row) in x.to_f64_vec().chunks(width).enumerate() {
                    let lse = row.iter().map(|x| x.exp()).sum::<f64>().ln();
                    assert!((sums[r] - lse).abs() <= tolerance * lse.abs().max(1.0));
                    for (j, x) in row.iter().enumerate() {
                        let (soft, log) = (soft[r * width + j], log[r * width + j]);
                        assert!((soft - (x - lse).exp()).abs() <= tolerance, "{dtype} {width}");
                        assert!((log - (x - lse)).abs() <= 8.0 * tolerance, "{dtype} {width}");
                    }
                }
            }
        }
    }

    #[test]
    fn infinities_have_their_limits() {
        let inf = f64::INFINITY;
        let x = Tensor::from_slice(&[-inf, 0.0, -inf], [3]);
        assert_eq!(x.softmax(0).to_vec::<f64>(), [0.0, 1.0, 0.0]);
        assert_eq!(x.log_softmax(0).to_vec::<f64>(), [-inf, 0.0, -inf]);
        let none = Tensor::from_slice(&[-inf; 20], [20]);
        assert_eq!(none.logsumexp(0).item(), -inf);
    }
}
