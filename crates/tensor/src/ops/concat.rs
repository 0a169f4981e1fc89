//! Tensors put one after another.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::copy::place;
use crate::shape::Layout;
use crate::tensor::Tensor;

/// The parts one after another along dimension `axis`; PyTorch's `cat`.
///
/// # Panics
/// Without parts, or where their types or other dimensions differ.
///
/// ```
/// use rappel_tensor::{DType, Tensor, concat};
/// let (a, b) = (Tensor::zeros([2, 1], DType::F32), Tensor::ones([2, 2], DType::F32));
/// assert_eq!(concat(&[&a, &b], 1).to_vec::<f32>(), [0.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
/// ```
#[track_caller]
#[must_use]
pub fn concat(parts: &[&Tensor], axis: usize) -> Tensor {
    assert!(!parts.is_empty(), "concat: there is no part");
    let (first, dtype) = (parts[0].shape(), parts[0].dtype());
    assert!(axis < first.rank(), "concat: no dimension {axis} in {first}");
    let mut shape = first;
    shape[axis] = 0;
    for part in parts {
        let one = part.shape();
        assert!(
            one.rank() == first.rank() && one.removed(axis) == first.removed(axis),
            "concat: {first} and {one} differ in another dimension than {axis}"
        );
        assert!(part.dtype() == dtype, "concat: parts are {dtype} and {}", part.dtype());
        shape[axis] += one[axis];
    }
    let mut out = Tensor::uninit(shape, dtype);
    let mut layout = Layout::contiguous(shape);
    let mut starts = Vec::new();
    let mut start = 0;
    for part in parts {
        let len = part.size(axis);
        layout.offset = start * layout.strides[axis];
        layout.shape[axis] = len;
        place(&mut out, layout, part);
        starts.push((start, len));
        start += len;
    }
    out.record(parts, move |grad, sink| {
        for (i, (start, len)) in starts.into_iter().enumerate() {
            sink.add(i, || grad.narrow(axis, start, len));
        }
    })
}

/// Tensors of one shape side by side along a new dimension `axis`.
///
/// # Panics
/// Without parts, or where shapes or types differ.
#[track_caller]
#[must_use]
pub fn stack(parts: &[&Tensor], axis: usize) -> Tensor {
    let parts: Vec<Tensor> = parts.iter().map(|part| part.unsqueeze(axis)).collect();
    concat(&parts.iter().collect::<Vec<_>>(), axis)
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "concat",
    samples: |draw| {
        let (n, m) = (draw.size(1, 4), draw.size(1, 4));
        let mut samples = Vec::new();
        for axis in 0..3 {
            let mut part = |len| {
                let mut shape = [n, m, 2];
                shape[axis] = len;
                draw.normal(shape)
            };
            let inputs = vec![part(1), part(3), part(2)];
            samples.push(Sample::new(format!("axis {axis}"), inputs, move |x| {
                concat(&[&x[0], &x[1], &x[2], &x[0]], axis)
            }));
        }
        let inputs = vec![draw.normal([n, m]), draw.normal([m, n])];
        samples.push(Sample::new("stack", inputs, |x| stack(&[&x[0], &x[1].mt()], 1)));
        samples
    },
};
