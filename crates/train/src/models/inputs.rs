//! What a model of text reads of a batch.

use rappel_data::SftBatch;
use rappel_model::Documents;
use rappel_tensor::Tensor;

/// Input ids `[1, tokens]`, and the segments within which they attend.
pub(crate) fn inputs(batch: &SftBatch) -> (Tensor, Documents) {
    let row = |values: &[i64]| Tensor::from_slice(values, [1, values.len()]);
    let positions = Some(row(&batch.positions));
    (row(&batch.input_ids), Documents { ids: row(&batch.segment_ids), positions })
}
