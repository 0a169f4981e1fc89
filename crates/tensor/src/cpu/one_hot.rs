//! Products with rows of zeros and a few ones, which are kept as the places of the ones.

use super::parallel::{Shared, for_pieces};
use crate::autograd::Target;
use crate::dtype::Element;
use crate::profile::timed;
use crate::tensor::Tensor;
use crate::with_float;

/// Rows whose sums one task makes: the columns of a row of the weight stay in cache meanwhile.
const ROWS: usize = 256;

/// Bytes of the weight's gradient that one task owns.
const PIECE_BYTES: usize = 1 << 18;

/// `out[r, o]`: the sum of `weight[o, ids[r, k]]` over those `k` whose id is not negative.
pub(crate) fn sum_columns(ids: &Tensor, weight: &Tensor) -> Tensor {
    let (rows, ones) = (ids.size(0), ids.size(1));
    let (outputs, inputs) = (weight.size(0), weight.size(1));
    let (dtype, ids) = (weight.dtype(), ids.slice::<i64>());
    let work = (rows * ones * outputs) as f64;
    let _timer = timed("sum columns", work, work * dtype.size() as f64);
    let mut out = Tensor::uninit([rows, outputs].into(), dtype);
    with_float!(dtype, "weight", T => {
        let from = weight.slice::<T>();
        let to = Shared::new(out.slice_mut::<T>());
        for_pieces(rows, ROWS, |range| {
            // SAFETY: tasks own disjoint rows of the result.
            let to = unsafe { to.slice(range.start * outputs..range.end * outputs) };
            let ids = &ids[range.start * ones..range.end * ones];
            for (o, columns) in from.chunks_exact(inputs).enumerate() {
                for r in 0..range.len() {
                    let ids = ids[r * ones..(r + 1) * ones].iter().filter(|id| **id >= 0);
                    let sum: f64 = ids.map(|id| columns[*id as usize].to_f64()).sum();
                    to[r * outputs + o] = T::from_f64(sum);
                }
            }
        });
    });
    out
}

/// The gradient of the weight of [`sum_columns`]: tasks own rows of it, and add by ascending row of
/// `grad`, so the bits do not depend on the number of threads.
pub(crate) fn add_to_columns(grad: &Tensor, ids: &Tensor, inputs: usize, target: &mut Target<'_>) {
    let (rows, ones, outputs) = (ids.size(0), ids.size(1), grad.size(1));
    let size = target.dtype.size();
    let cleared = if target.accumulate { 0 } else { target.count() * size };
    let work = rows * ones * outputs;
    let _timer = timed("add to columns", work as f64, (2 * work * size + cleared) as f64);
    let grad = grad.detach().to_dtype(target.dtype).contiguous();
    let (ids, fresh) = (ids.slice::<i64>(), !target.accumulate);
    with_float!(target.dtype, "gradient", T => {
        let from = grad.slice::<T>();
        let to = Shared::new(target.slice::<T>());
        let piece = (PIECE_BYTES / (inputs * size_of::<T>()).max(1)).max(1);
        for_pieces(outputs, piece, |range| {
            for o in range {
                // SAFETY: tasks own disjoint rows of the target.
                let part = unsafe { to.slice(o * inputs..(o + 1) * inputs) };
                if fresh {
                    part.fill(T::from_f64(0.0));
                }
                for r in 0..rows {
                    let slope = from[r * outputs + o].to_f64();
                    for id in ids[r * ones..(r + 1) * ones].iter().filter(|id| **id >= 0) {
                        let to = &mut part[*id as usize];
                        *to = T::from_f64(to.to_f64() + slope);
                    }
                }
            }
        });
    });
}
