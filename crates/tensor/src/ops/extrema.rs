//! Largest and smallest elements.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::lines::first_best;
use crate::tensor::Tensor;
use crate::with_element;

impl Tensor {
    /// Where the first largest element along dimension `axis` is, as `i64`; the dimension
    /// disappears. NaN counts as the largest, as in PyTorch.
    ///
    /// # Panics
    /// Where there is no such dimension, or it is empty.
    #[track_caller]
    #[must_use]
    pub fn argmax(&self, axis: usize) -> Self {
        self.first("argmax", axis, true)
    }

    /// Where the first smallest element along dimension `axis` is; see [`argmax`](Tensor::argmax).
    /// NaN counts as the smallest.
    #[track_caller]
    #[must_use]
    pub fn argmin(&self, axis: usize) -> Self {
        self.first("argmin", axis, false)
    }

    /// The largest element along dimension `axis`, which disappears, and its index (`i64`): the
    /// first where there are several. The gradient goes to that one.
    ///
    /// # Panics
    /// Where there is no such dimension, or it is empty.
    ///
    /// ```
    /// use rappel_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1.0_f32, 5.0, 5.0, 2.0, 0.0, 1.0], [2, 3]);
    /// let (values, indices) = x.max_axis(1);
    /// assert_eq!(values.to_vec::<f32>(), [5.0, 2.0]);
    /// assert_eq!(indices.to_vec::<i64>(), [1, 0]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn max_axis(&self, axis: usize) -> (Self, Self) {
        self.at(axis, self.argmax(axis))
    }

    /// The smallest element along dimension `axis`, and its index: see
    /// [`max_axis`](Tensor::max_axis).
    #[track_caller]
    #[must_use]
    pub fn min_axis(&self, axis: usize) -> (Self, Self) {
        self.at(axis, self.argmin(axis))
    }

    /// The largest element, a scalar; the gradient goes to the first of equals.
    #[track_caller]
    #[must_use]
    pub fn max(&self) -> Self {
        self.reshape([self.count()]).max_axis(0).0
    }

    /// The smallest element, a scalar; the gradient goes to the first of equals.
    #[track_caller]
    #[must_use]
    pub fn min(&self) -> Self {
        self.reshape([self.count()]).min_axis(0).0
    }

    fn at(&self, axis: usize, indices: Self) -> (Self, Self) {
        (self.gather(axis, &indices.unsqueeze(axis)).squeeze(axis), indices)
    }

    #[track_caller]
    fn first(&self, name: &str, axis: usize, largest: bool) -> Self {
        let shape = self.shape();
        assert!(axis < shape.rank(), "{name}: no dimension {axis} in {shape}");
        assert!(shape[axis] > 0, "{name}: dimension {axis} of {shape} is empty");
        let outer = shape[..axis].iter().product();
        let inner = shape[axis + 1..].iter().product();
        let dims = [outer, shape[axis], inner];
        let values = self.detach().contiguous();
        let found = with_element!(self.dtype(), T => {
            // Only NaN differs from itself.
            first_best(&values, dims, |x: T, best: T| {
                let nan = |x: T| x.partial_cmp(&x).is_none();
                let beyond = if largest { x > best } else { x < best };
                beyond || (nan(x) && !nan(best))
            })
        });
        found.reshape(shape.removed(axis))
    }
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "extrema",
    samples: |draw| {
        let sizes = [draw.size(1, 4), draw.size(1, 4), draw.size(1, 4)];
        // Far enough apart that small steps do not change which is the largest.
        let count: usize = sizes.iter().product();
        let ranks = draw.uniform([count], 0.0, 1.0).to_vec::<f64>();
        let rank = |x: &f64| ranks.iter().filter(|y| *y < x).count() as f64 * 0.3 - 1.0;
        let values: Vec<f64> = ranks.iter().map(rank).collect();
        let x = Tensor::from_slice(&values, sizes);
        let mut samples = vec![
            Sample::new("max", vec![x.clone()], |x| x[0].max().square()),
            Sample::new("min", vec![x.clone()], |x| x[0].min().square()),
        ];
        for axis in 0..3 {
            samples.push(Sample::new(format!("axis {axis}"), vec![x.clone()], move |x| {
                x[0].max_axis(axis).0.square() + x[0].min_axis(axis).0
            }));
        }
        samples
    },
};
