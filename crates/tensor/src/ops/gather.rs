//! Elements chosen by indices, and added up at indices.

#[cfg(test)]
use super::{Operation, Sample};
use crate::autograd::owned_target;
use crate::kernels::args::AddedRows;
use crate::kernels::index::{add_taken, checked, take};
use crate::kernels::lines;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Tensor {
    /// `out[i, j, k] = self[i, indices[i, j, k], k]`, here for `axis` 1: PyTorch's `gather`.
    ///
    /// `indices` (`i64`) has as many dimensions as this tensor, and no dimension but `axis` may be
    /// larger; the result has its shape.
    ///
    /// # Panics
    /// Where shapes do not meet, or an index is outside dimension `axis`.
    ///
    /// ```
    /// use rappel_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], [2, 2]);
    /// let ids = Tensor::from_slice(&[1_i64, 0], [2, 1]);
    /// assert_eq!(x.gather(1, &ids).to_vec::<f32>(), [2.0, 3.0]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn gather(&self, axis: usize, indices: &Tensor) -> Self {
        let (shape, dtype) = (self.shape(), self.dtype());
        meets("gather", shape, axis, indices.shape());
        let ids = checked("gather", indices, shape[axis], "a dimension");
        let picked = indices.shape();
        let out = lines::gather(self, axis, &ids, picked);
        out.record(&[self], move |grad, sink| {
            sink.write(0, shape, dtype, |target| {
                lines::scatter_add(target, shape, axis, &ids, &grad);
            });
        })
    }

    /// This tensor with `src` added at `indices`: `out[i, indices[i, j, k], k] += src[i, j, k]`,
    /// here for `axis` 1. Where indices repeat, the sum is formed in their order, for any number
    /// of threads: PyTorch's `scatter_add`.
    ///
    /// `indices` (`i64`) and `src` have one shape, of as many dimensions as this tensor; no
    /// dimension but `axis` may be larger.
    ///
    /// # Panics
    /// Where shapes do not meet, types differ, or an index is outside dimension `axis`.
    #[track_caller]
    #[must_use]
    pub fn scatter_add(&self, axis: usize, indices: &Tensor, src: &Tensor) -> Self {
        let (shape, dtype) = (self.shape(), self.dtype());
        meets("scatter_add", shape, axis, indices.shape());
        assert!(
            src.shape() == indices.shape() && src.dtype() == dtype,
            "scatter_add: src {} {} for indices {} into {} {shape}",
            src.dtype(),
            src.shape(),
            indices.shape(),
            dtype
        );
        let ids = checked("scatter_add", indices, shape[axis], "a dimension");
        let mut out = self.copied();
        lines::scatter_add(&mut owned_target(&mut out, true), shape, axis, &ids, src);
        let picked = src.shape();
        out.record(&[self, src], move |grad, sink| {
            sink.add(1, || lines::gather(&grad, axis, &ids, picked));
            sink.add(0, || grad);
        })
    }

    /// Indices `ids` of dimension `axis`, in their order; `ids` is `[n]` of type `i64`.
    ///
    /// # Panics
    /// Where an id is outside dimension `axis`.
    ///
    /// ```
    /// use rappel_tensor::{DType, Tensor};
    /// let x = Tensor::arange(6, DType::F32).reshape([2, 3]);
    /// let ids = Tensor::from_slice(&[2_i64, 0], [2]);
    /// assert_eq!(x.index_select(1, &ids).to_vec::<f32>(), [2.0, 0.0, 5.0, 3.0]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn index_select(&self, axis: usize, ids: &Tensor) -> Self {
        let (shape, dtype) = (self.shape(), self.dtype());
        assert!(axis < shape.rank(), "index_select: no dimension {axis} in {shape}");
        assert!(ids.rank() == 1, "index_select: ids {} are not [n]", ids.shape());
        let chosen = checked("index_select", ids, shape[axis], "a dimension");
        let outer = shape[..axis].iter().product();
        let inner = shape[axis + 1..].iter().product();
        let dims = [outer, shape[axis], inner];
        let mut picked = shape;
        picked[axis] = chosen.count();
        let out = take(&self.detach().contiguous(), dims, &chosen).reshape(picked);
        out.record(&[self], move |grad, sink| {
            sink.write(0, shape, dtype, |target| {
                add_taken(AddedRows::Each(&grad), dims, &chosen, target);
            });
        })
    }
}

#[track_caller]
fn meets(name: &str, shape: Shape, axis: usize, indices: Shape) {
    let smaller = |d: usize| d == axis || indices[d] <= shape[d];
    assert!(
        axis < shape.rank() && indices.rank() == shape.rank() && (0..shape.rank()).all(smaller),
        "{name}: indices {indices} along dimension {axis} do not fit {shape}"
    );
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "gather",
    samples: |draw| {
        let sizes = [draw.size(1, 4), draw.size(1, 4), draw.size(1, 4)];
        let mut samples = Vec::new();
        for axis in 0..3 {
            let mut fewer = sizes.map(|size| draw.size(1, size));
            fewer[axis] = draw.size(1, 6);
            let ids = draw.indices(fewer, sizes[axis]);
            let same = ids.clone();
            let inputs = vec![draw.normal(sizes)];
            samples.push(Sample::new(format!("gather {axis}"), inputs, move |x| {
                x[0].gather(axis, &ids)
            }));
            let inputs = vec![draw.normal(sizes), draw.normal(fewer)];
            samples.push(Sample::new(format!("scatter_add {axis}"), inputs, move |x| {
                x[0].scatter_add(axis, &same, &x[1]).square()
            }));
            let len = draw.size(1, 6);
            let ids = draw.indices([len], sizes[axis]);
            let inputs = vec![draw.normal(sizes)];
            samples.push(Sample::new(format!("index_select {axis}"), inputs, move |x| {
                x[0].index_select(axis, &ids)
            }));
        }
        samples
    },
};
