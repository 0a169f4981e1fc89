//! Products of rows with rows of a table, which are read where they lie.

use super::copy::AddTimes;
use super::parallel::{Shared, for_pieces};
use crate::dtype::Element;
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements of the table that one task reads.
const PIECE: usize = 1 << 15;

fn timer(table: &Tensor, ids: &Tensor) -> impl Drop {
    let elements = ids.count() * table.size(1);
    timed("row products", 2.0 * elements as f64, (elements * table.dtype().size()) as f64)
}

/// `out[i, j] = rows[i] . table[ids[i, j]]`; all are contiguous, ids are those of rows of the table.
pub(crate) fn forward(rows: &Tensor, table: &Tensor, ids: &Tensor) -> Tensor {
    let _timer = timer(table, ids);
    let (n, per_row, width) = (ids.size(0), ids.size(1), table.size(1));
    let mut out = Tensor::uninit(ids.shape(), table.dtype());
    let ids = ids.slice::<i64>();
    with_float!(table.dtype(), "row products", T => {
        let (rows, table) = (rows.slice::<T>(), table.slice::<T>());
        let out = Shared::new(out.slice_mut::<T>());
        for_pieces(n, (PIECE / (per_row * width).max(1)).max(1), |range| {
            for at in range.start * per_row..range.end * per_row {
                let (row, id) = (at / per_row * width, ids[at] as usize * width);
                let product = Product { a: &rows[row..row + width], b: &table[id..id + width] };
                // SAFETY: each place is written once.
                unsafe { *out.at(at) = T::from_f64(dispatch(product)) };
            }
        });
    });
    out
}

/// The gradient of [`forward`]'s rows: `sum over j of grad[i, j] table[ids[i, j]]`.
pub(crate) fn rows_gradient(grad: &Tensor, table: &Tensor, ids: &Tensor) -> Tensor {
    let _timer = timer(table, ids);
    let (n, per_row, width) = (ids.size(0), ids.size(1), table.size(1));
    let mut out = Tensor::uninit([n, width].into(), table.dtype());
    let ids = ids.slice::<i64>();
    with_float!(table.dtype(), "row products", T => {
        let (grad, table) = (grad.slice::<T>(), table.slice::<T>());
        let out = Shared::new(out.slice_mut::<T>());
        for_pieces(n, (PIECE / (per_row * width).max(1)).max(1), |range| {
            for row in range {
                // SAFETY: each row is written by one task.
                let to = unsafe { out.slice(row * width..(row + 1) * width) };
                to.fill(T::from_f64(0.0));
                for at in row * per_row..(row + 1) * per_row {
                    let id = ids[at] as usize * width;
                    let from = &table[id..id + width];
                    dispatch(AddTimes { to: &mut *to, from, factor: grad[at] });
                }
            }
        });
    });
    out
}

/// The product of two rows.
struct Product<'a, T> {
    a: &'a [T],
    b: &'a [T],
}

impl<T: Stored> Kernel for Product<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let lanes = T::Wide::<S>::LANES;
        let n = self.a.len().min(self.b.len());
        let (a, b) = (self.a.as_ptr(), self.b.as_ptr());
        let mut sums = [T::Wide::<S>::of(0.0); 4];
        let mut i = 0;
        // SAFETY: both rows have `n` elements, and `i` stays below.
        unsafe {
            while i + 4 * lanes <= n {
                for k in 0..4 {
                    let at = i + k * lanes;
                    sums[k] = T::load::<S>(a.add(at)).mul_add(T::load::<S>(b.add(at)), sums[k]);
                }
                i += 4 * lanes;
            }
            while i + lanes <= n {
                sums[0] = T::load::<S>(a.add(i)).mul_add(T::load::<S>(b.add(i)), sums[0]);
                i += lanes;
            }
            if i < n {
                let [a, b] = [a, b].map(|of| T::load_partial::<S>(of.add(i), n - i));
                sums[0] = a.mul_add(b, sums[0]);
            }
        }
        let [a, b, c, d] = sums;
        ((a + b) + (c + d)).reduce_sum().into()
    }
}
