//! Rows chosen by number: copied out, and added up again.

use super::copy::{AddAssign, AddTimes};
use super::parallel::{Shared, for_pieces};
use crate::autograd::Target;
use crate::dtype::{DType, Element};
use crate::kernels::args::AddedRows;
use crate::profile::timed;
use crate::real::dispatch;
use crate::tensor::Tensor;
use crate::{with_element, with_float};

/// Bytes that one task moves.
const PIECE_BYTES: usize = 1 << 18;

/// Indices in order, each of which is one of `count` rows of `what`: they are looked at on the host,
/// where the data came from.
#[track_caller]
pub(crate) fn checked(name: &str, ids: &Tensor, count: usize, what: &str) -> Tensor {
    assert!(ids.dtype() == DType::I64, "{name}: ids are {}, not i64", ids.dtype());
    let ids = ids.detach().contiguous();
    let wrong = ids.slice::<i64>().iter().position(|&id| id < 0 || id as usize >= count);
    if let Some(at) = wrong {
        let id = ids.slice::<i64>()[at];
        panic!("{name}: id {id} at position {at} is outside {what} of {count}");
    }
    ids
}

/// Rows `ids` ([`checked`]) of the middle dimension of a contiguous tensor, seen as
/// `[outer, count, inner]`.
pub(crate) fn take(x: &Tensor, [outer, count, inner]: [usize; 3], ids: &Tensor) -> Tensor {
    let ids = ids.slice::<i64>();
    let size = x.dtype().size();
    let _timer = timed("take rows", 0.0, (2 * outer * ids.len() * inner * size) as f64);
    let mut out = Tensor::uninit([outer, ids.len(), inner].into(), x.dtype());
    with_element!(x.dtype(), T => {
        let from = x.slice::<T>();
        let to = Shared::new(out.slice_mut::<T>());
        let rows = (PIECE_BYTES / (inner * size_of::<T>()).max(1)).max(1);
        for_pieces(outer * ids.len(), rows, |range| {
            for row in range {
                let first = (row / ids.len() * count + ids[row % ids.len()] as usize) * inner;
                // SAFETY: every row is written once, and lies within the result.
                let to = unsafe { to.slice(row * inner..(row + 1) * inner) };
                to.copy_from_slice(&from[first..first + inner]);
            }
        });
    });
    out
}

/// The gradient of [`take`]: each of the rows that are `added` goes to the row that it was copied from.
///
/// Tasks own ranges of rows of the target, and add what belongs there by ascending position, so the
/// result's bits do not depend on the number of threads.
pub(crate) fn add_taken(
    added: AddedRows<'_>,
    [outer, count, inner]: [usize; 3],
    ids: &Tensor,
    target: &mut Target<'_>,
) {
    let ids = ids.slice::<i64>();
    let moved = 3 * outer * ids.len() * inner * target.dtype.size();
    let cleared = if target.accumulate { 0 } else { target.count() * target.dtype.size() };
    let _timer = timed("add rows", 0.0, (moved + cleared) as f64);
    let dtype = target.dtype;
    let of = |tensor: &Tensor| tensor.detach().to_dtype(dtype).contiguous();
    let (rows, factors) = match added {
        AddedRows::Each(rows) => (of(rows), None),
        AddedRows::Times { rows, factors } => (of(rows), Some(of(factors))),
    };
    let per_row = factors.as_ref().map_or(1, |_| (ids.len() * inner / rows.count().max(1)).max(1));
    assert_eq!(rows.count() * per_row, outer * ids.len() * inner, "rows for other ids");
    let order = by_id(ids, count);
    let fresh = !target.accumulate;
    with_float!(dtype, "gradient", T => {
        let from = rows.slice::<T>();
        let factors = factors.as_ref().map(Tensor::slice::<T>);
        let to = target.slice::<T>();
        assert_eq!(to.len(), outer * count * inner, "gradient of another size");
        let to = Shared::new(to);
        let rows = (PIECE_BYTES / (outer * inner * size_of::<T>()).max(1)).max(1);
        for_pieces(count, rows, |range| {
            let before = |row: usize| order.partition_point(|&i| (ids[i] as usize) < row);
            let here = &order[before(range.start)..before(range.end)];
            for o in 0..outer {
                let row = |r: usize| (o * count + r) * inner;
                // SAFETY: tasks own disjoint rows of the target.
                let part = unsafe { to.slice(row(range.start)..row(range.end)) };
                if fresh {
                    part.fill(T::from_f64(0.0));
                }
                for &i in here {
                    let first = (ids[i] as usize - range.start) * inner;
                    let source = (o * ids.len() + i) / per_row * inner;
                    let to = &mut part[first..first + inner];
                    let from = &from[source..source + inner];
                    match factors {
                        None => dispatch(AddAssign { to, from }),
                        Some(factors) => dispatch(AddTimes { to, from, factor: factors[i] }),
                    }
                }
            }
        });
    });
}

/// The places of ids below `count`, by their ids, those of one id in their order.
fn by_id(ids: &[i64], count: usize) -> Vec<usize> {
    if count > 8 * ids.len() {
        let mut pairs: Vec<(i64, usize)> = ids.iter().copied().zip(0..).collect();
        pairs.sort_unstable();
        return pairs.into_iter().map(|(_, place)| place).collect();
    }
    let mut next = vec![0_usize; count + 1];
    for id in ids {
        next[*id as usize + 1] += 1;
    }
    for id in 0..count {
        next[id + 1] += next[id];
    }
    let mut order = vec![0; ids.len()];
    for (place, id) in ids.iter().enumerate() {
        let at = &mut next[*id as usize];
        order[*at] = place;
        *at += 1;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::by_id;

    #[test]
    fn places_are_counted_to_where_they_are_sorted() {
        let ids = [3_i64, 0, 3, 2, 0, 3];
        assert_eq!(by_id(&ids, 4), [1, 4, 3, 0, 2, 5]);
        assert_eq!(by_id(&ids, 4), by_id(&ids, 1000));
        assert!(by_id(&[], 0).is_empty());
    }
}
