//! Sums and means.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::reduce::sum_middle;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Tensor {
    /// The sum of all elements, a scalar.
    #[track_caller]
    #[must_use]
    pub fn sum(&self) -> Self {
        let shape = self.shape();
        sum_middle(&self.detach().contiguous(), 1, self.count(), 1)
            .reshape(())
            .record(&[self], move |grad, sink| sink.add(0, || grad.broadcast_to(shape)))
    }

    /// The mean of all elements, a scalar.
    #[track_caller]
    #[must_use]
    pub fn mean(&self) -> Self {
        self.sum() / self.count() as f64
    }

    /// The sum over dimension `axis`, which disappears.
    #[track_caller]
    #[must_use]
    pub fn sum_axis(&self, axis: usize) -> Self {
        let shape = self.shape();
        assert!(axis < shape.rank(), "sum_axis: no dimension {axis} in {shape}");
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis + 1..].iter().product();
        sum_middle(&self.detach().contiguous(), outer, shape[axis], inner)
            .reshape(shape.removed(axis))
            .record(&[self], move |grad, sink| {
                sink.add(0, || grad.unsqueeze(axis).broadcast_to(shape));
            })
    }

    /// The mean over dimension `axis`, which disappears.
    #[track_caller]
    #[must_use]
    pub fn mean_axis(&self, axis: usize) -> Self {
        self.sum_axis(axis) / self.size(axis) as f64
    }

    /// Summed down to `shape`, which must broadcast to this tensor's shape: the gradient of
    /// [`broadcast_to`](Tensor::broadcast_to).
    #[track_caller]
    #[must_use]
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let before = self.shape();
        assert!(
            shape.broadcast(&before) == Some(before),
            "sum_to: {shape} does not broadcast to {before}"
        );
        let lead = before.rank() - shape.rank();
        let summed = |d: usize| before[d] != 1 && (d < lead || shape[d - lead] == 1);
        let mut out = self.clone();
        let mut d = 0;
        while d < before.rank() {
            if !summed(d) {
                d += 1;
                continue;
            }
            // A run of summed dimensions at once.
            let end = (d..before.rank()).find(|&e| !summed(e)).unwrap_or(before.rank());
            let outer: usize = out.shape()[..d].iter().product();
            let run: usize = before[d..end].iter().product();
            let inner: usize = before[end..].iter().product();
            let mut sizes = out.shape();
            sizes[d..end].fill(1);
            out = out.reshape([outer, run, inner]).sum_axis(1).reshape(sizes);
            d = end;
        }
        out.reshape(shape)
    }
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "sum",
    samples: |draw| {
        let shape = [draw.size(1, 4), draw.size(1, 4), draw.size(1, 4)];
        let mut samples = vec![
            Sample::new("sum", vec![draw.normal(shape)], |x| x[0].square().sum()),
            Sample::new("mean", vec![draw.normal(shape)], |x| x[0].square().mean()),
        ];
        for axis in 0..3 {
            samples.push(Sample::new(format!("axis {axis}"), vec![draw.normal(shape)], move |x| {
                x[0].sum_axis(axis) + x[0].mean_axis(axis)
            }));
        }
        for to in [vec![shape[2]], vec![shape[0], 1, 1], vec![1, shape[1], 1], vec![1, 1]] {
            let what = format!("to {to:?}");
            samples.push(Sample::new(what, vec![draw.normal(shape)], move |x| {
                x[0].sum_to(&to[..]) * 2.0
            }));
        }
        samples
    },
};
