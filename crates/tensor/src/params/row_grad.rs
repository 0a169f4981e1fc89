//! The gradient of a table of which a batch looks up few rows: those rows.

use crate::autograd::{Target, owned_target};
use crate::kernels::args::AddedRows;
use crate::kernels::index::add_taken;
use crate::shape::Shape;
use crate::tensor::Tensor;

use super::layout::Entry;

/// Rows in their order, each once, and the gradient of each.
#[derive(Debug)]
pub(super) struct RowGrad {
    rows: Vec<u32>,
    /// `[rows, width]`.
    values: Tensor,
}

impl RowGrad {
    /// No rows of a table.
    pub fn none(entry: &Entry) -> Self {
        let values = Tensor::zeros([0, entry.shape[1]], entry.dtype.accumulator());
        Self { rows: Vec::new(), values }
    }

    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// Adds to the gradients of the rows `ids`, for one row in their order.
    pub fn add(&mut self, ids: &Tensor, added: AddedRows<'_>) {
        let ids = ids.to_vec::<i64>();
        let mut rows: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
        rows.sort_unstable();
        rows.dedup();
        let old = (!self.rows.is_empty()).then(|| std::mem::take(&mut self.rows));
        if let Some(old) = &old {
            rows.extend(old);
            rows.sort_unstable();
            rows.dedup();
        }
        let place = |row: u32| rows.binary_search(&row).expect("among the rows") as i64;
        let width = self.values.size(1);
        let mut values = Tensor::uninit([rows.len(), width].into(), self.values.dtype());
        let dims = [1, rows.len(), width];
        let mut accumulate = false;
        if let Some(old) = &old {
            let places: Vec<i64> = old.iter().map(|row| place(*row)).collect();
            let places = Tensor::from_slice(&places, [places.len()]);
            add_taken(
                AddedRows::Each(&self.values),
                dims,
                &places,
                &mut owned_target(&mut values, false),
            );
            accumulate = true;
        }
        let places: Vec<i64> = ids.iter().map(|id| place(*id as u32)).collect();
        let places = Tensor::from_slice(&places, [places.len()]);
        add_taken(added, dims, &places, &mut owned_target(&mut values, accumulate));
        (self.rows, self.values) = (rows, values);
    }

    /// All rows of the table, to be written, or added to: something that was computed from all of it.
    pub fn whole(&mut self, shape: Shape, accumulate: bool) -> Target<'_> {
        if self.rows.len() != shape[0] {
            self.values = if accumulate {
                self.dense(shape)
            } else {
                Tensor::uninit(shape, self.values.dtype())
            };
            self.rows = (0..shape[0] as u32).collect();
        }
        owned_target(&mut self.values, accumulate)
    }

    /// The gradient of the whole table, of `shape`.
    pub fn dense(&self, shape: Shape) -> Tensor {
        let mut values = Tensor::uninit(shape, self.values.dtype());
        let places: Vec<i64> = self.rows.iter().map(|row| i64::from(*row)).collect();
        let places = Tensor::from_slice(&places, [places.len()]);
        let dims = [1, shape[0], shape[1]];
        add_taken(
            AddedRows::Each(&self.values),
            dims,
            &places,
            &mut owned_target(&mut values, false),
        );
        values
    }
}

#[cfg(test)]
mod tests {
    use crate::{DType, Grads, Init, Params, embedding};

    use super::*;

    #[test]
    fn rows_add_up_to_the_gradient_of_the_table() {
        let looked_up = |by_rows: bool| {
            let mut params = Params::with_dtype(3, DType::F64);
            let mut scope = params.scope("t");
            let init = Init::Normal { std: 1.0 };
            let table = if by_rows {
                scope.add_rows("weight", [50, 3], init)
            } else {
                scope.add("weight", [50, 3], init)
            };
            let other = params.scope("").add("other", [3], Init::ONES);
            let mut grads = Grads::default();
            // Twice, as of two micro-batches, each with repeated rows; then something of the whole table.
            for ids in [[7_i64, 3, 7, 49], [3, 0, 0, 7]] {
                let rows = embedding(&Tensor::from_slice(&ids, [2, 2]), &table.tensor());
                (rows.square().sum_axis(0) * other.tensor()).sum().backward_into(&mut grads);
            }
            let layout = params.layout();
            let few = grads.rows(&layout, table.index()).map(|(rows, _)| rows.to_vec());
            assert_eq!(few, by_rows.then(|| vec![0, 3, 7, 49]));
            let first = (grads.param(&table).unwrap().to_vec::<f64>(), grads.norm(&layout));
            table.tensor().square().sum().backward_into(&mut grads);
            (first, grads.param(&table).unwrap().to_vec::<f64>(), layout.dense_len(DType::F64))
        };
        let (whole, rows) = (looked_up(false), looked_up(true));
        assert_eq!(whole.0.0, rows.0.0);
        assert!((whole.0.1 - rows.0.1).abs() < 1e-12);
        assert_eq!(whole.1, rows.1);
        assert!(rows.2 < 50 && whole.2 >= 150, "{} {}", rows.2, whole.2);
    }
}
