//! How several strided operands are walked together, whatever processor does so.

use crate::dtype::DType;
use crate::shape::{Layout, MAX_RANK, Shape};
use crate::tensor::Tensor;

/// How to walk several layouts of one shape together: rows of `inner` elements, evenly spaced.
pub(crate) struct Walk<const N: usize> {
    pub rows: usize,
    pub inner: usize,
    pub steps: [usize; N],
    /// Sizes and strides of the dimensions outside of rows; `depth` of them.
    pub outer: [(usize, [usize; N]); MAX_RANK],
    pub depth: usize,
    pub offset: [usize; N],
}

impl<const N: usize> Walk<N> {
    pub fn new(layouts: [Layout; N], shape: Shape) -> Self {
        // Merge neighbouring dimensions that every layout walks evenly.
        let mut dims = [(1, [0; N]); MAX_RANK];
        let mut depth = 0;
        for d in (0..shape.rank()).filter(|&d| shape[d] != 1) {
            let strides: [usize; N] = std::array::from_fn(|k| layouts[k].strides[d]);
            let merges =
                |last: &(usize, [usize; N])| (0..N).all(|k| last.1[k] == strides[k] * shape[d]);
            if depth > 0 && merges(&dims[depth - 1]) {
                dims[depth - 1] = (dims[depth - 1].0 * shape[d], strides);
            } else {
                dims[depth] = (shape[d], strides);
                depth += 1;
            }
        }
        let (inner, steps) = if depth > 0 { dims[depth - 1] } else { (1, [0; N]) };
        let depth = depth.saturating_sub(1);
        let rows = dims[..depth].iter().map(|(size, _)| size).product();
        let rows = if shape.count() == 0 { 0 } else { rows };
        let offset = std::array::from_fn(|k| layouts[k].offset);
        Self { rows, inner, steps, outer: dims, depth, offset }
    }

    #[inline(always)]
    pub fn offsets(&self, mut row: usize) -> [usize; N] {
        let mut offsets = self.offset;
        for (size, strides) in self.outer[..self.depth].iter().rev() {
            for k in 0..N {
                offsets[k] += row % size * strides[k];
            }
            row /= size;
        }
        offsets
    }
}

/// The shape that operands of one type broadcast to, and the type.
#[track_caller]
pub(crate) fn common(name: &str, operands: &[&Tensor]) -> (Shape, DType) {
    let dtype = operands[0].dtype();
    let mut shape = operands[0].shape();
    for operand in &operands[1..] {
        assert!(
            operand.dtype() == dtype,
            "{name}: operands are {dtype} and {}; convert one with to_dtype",
            operand.dtype()
        );
        shape = shape.broadcast(&operand.shape()).unwrap_or_else(|| {
            let (a, b) = (operands[0].shape(), operand.shape());
            panic!("{name}: shapes {a} and {b} do not broadcast together")
        });
    }
    (shape, dtype)
}
