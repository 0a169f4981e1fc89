//! Rows of a table, looked up by token id.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::AddedRows;
use crate::kernels::index::{checked, take};
use crate::tensor::Tensor;

/// `table[ids]`: for each id the row of that number, `[..]` and `[vocab, width]` to `[.., width]`.
///
/// `ids` is `i64`. The gradient of the table is the sum of the gradients of the rows that were
/// looked up, zero for all others: PyTorch's `embedding`. It is added straight where the
/// parameter's gradient is kept, in order of position for any number of threads.
///
/// # Panics
/// Where an id is negative or not below `vocab`, `table` has not two dimensions, or `ids` is not
/// `i64`.
///
/// ```
/// use rappel_tensor::{Tensor, embedding};
/// let table = Tensor::from_slice(&[0.0_f32, 0.1, 1.0, 1.1, 2.0, 2.1], [3, 2]);
/// let ids = Tensor::from_slice(&[2_i64, 0], [2]);
/// assert_eq!(embedding(&ids, &table).to_vec::<f32>(), [2.0, 2.1, 0.0, 0.1]);
/// ```
#[track_caller]
#[must_use]
pub fn embedding(ids: &Tensor, table: &Tensor) -> Tensor {
    let (shape, dtype) = (table.shape(), table.dtype());
    assert!(shape.rank() == 2, "embedding: table {shape} is not [vocab, width]");
    let dims = [1, shape[0], shape[1]];
    let chosen = checked("embedding", ids, shape[0], "a vocabulary");
    let rows = take(&table.detach().contiguous(), dims, &chosen);
    rows.reshape(ids.shape().inserted(ids.rank(), shape[1])).record(&[table], move |grad, sink| {
        let grad = grad.reshape([chosen.count(), shape[1]]);
        sink.rows(0, shape, dtype, &chosen, AddedRows::Each(&grad));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "embedding",
    samples: |draw| {
        let (vocab, width) = (draw.size(1, 6), draw.size(1, 5));
        let shape = [draw.size(1, 3), draw.size(1, 5)];
        let ids = draw.indices(shape, vocab);
        let inputs = vec![draw.normal([vocab, width])];
        vec![Sample::new("repeated ids", inputs, move |x| embedding(&ids, &x[0]))]
    },
};
