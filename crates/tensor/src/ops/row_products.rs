//! Products of rows with rows of a table.

use super::embedding;
#[cfg(test)]
use super::{Operation, Sample};
use crate::dtype::DType;
use crate::kernels::args::AddedRows;
use crate::kernels::index::checked;
use crate::kernels::row_products::{forward, rows_gradient};
use crate::tensor::Tensor;

/// `out[i, j] = rows[i] . table[ids[i, j]]`: `[n, width]`, `[vocab, width]` and ids (i64) `[n, k]` to `[n, k]`.
///
/// The same as products with what [`embedding`] looks up, without a copy of these rows. The gradient of a table that is kept by
/// rows is that of the rows of `ids`.
///
/// # Panics
/// Where shapes or types do not meet, or an id is outside the table.
///
/// ```
/// use rappel_tensor::{Tensor, row_products};
/// let rows = Tensor::from_slice(&[1.0_f32, 2.0], [1, 2]);
/// let table = Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 1.0, 3.0, 3.0], [3, 2]);
/// let ids = Tensor::from_slice(&[2_i64, 1, 2], [1, 3]);
/// assert_eq!(row_products(&rows, &table, &ids).to_vec::<f32>(), [9.0, 2.0, 9.0]);
/// ```
#[track_caller]
#[must_use]
pub fn row_products(rows: &Tensor, table: &Tensor, ids: &Tensor) -> Tensor {
    let (sr, st, si, dtype) = (rows.shape(), table.shape(), ids.shape(), table.dtype());
    assert!(
        sr.rank() == 2
            && st.rank() == 2
            && si.rank() == 2
            && sr[1] == st[1]
            && sr[0] == si[0]
            && rows.dtype() == dtype,
        "row_products: rows {sr} {}, table {st} {dtype} and ids {si} do not meet",
        rows.dtype()
    );
    if dtype == DType::BF16 {
        // Sums of more than a few products want more precision than rows in bfloat16 have.
        return (rows.unsqueeze(1) * embedding(ids, table)).sum_axis(2);
    }
    let chosen = checked("row_products", ids, st[0], "a table");
    let (of_rows, of_table) = (rows.detach().contiguous(), table.detach().contiguous());
    let out = forward(&of_rows, &of_table, &chosen);
    out.record(&[rows, table], move |grad, sink| {
        let grad = grad.contiguous();
        sink.add(0, || rows_gradient(&grad, &of_table, &chosen));
        let added = AddedRows::Times { rows: &of_rows, factors: &grad };
        sink.rows(1, st, dtype, &chosen, added);
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "row_products",
    samples: |draw| {
        let [n, k, vocab, width] = [(1, 4), (1, 3), (1, 6), (1, 7)].map(|(a, b)| draw.size(a, b));
        let ids = draw.indices([n, k], vocab);
        let inputs = vec![draw.normal([n, width]), draw.normal([vocab, width])];
        vec![Sample::new("repeated ids", inputs, move |x| row_products(&x[0], &x[1], &ids))]
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grads, Init, Params};

    /// Values and gradients by rows, wide enough for whole registers and a rest.
    #[test]
    fn products_are_those_of_rows_looked_up() {
        let both = |fused: bool| {
            let mut params = Params::new(5);
            let init = Init::Normal { std: 1.0 };
            let rows = params.scope("rows").add("weight", [40, 83], init);
            let table = params.scope("table").add_rows("weight", [90, 83], init);
            let ids: Vec<i64> = (0..120).map(|i| i * 31 % 77).collect();
            let ids = Tensor::from_slice(&ids, [40, 3]);
            let out = if fused {
                row_products(&rows.tensor(), &table.tensor(), &ids)
            } else {
                (rows.tensor().unsqueeze(1) * embedding(&ids, &table.tensor())).sum_axis(2)
            };
            let mut grads = Grads::default();
            out.square().sum().backward_into(&mut grads);
            let of_rows = grads.rows(&params.layout(), table.index()).unwrap().0.to_vec();
            assert_eq!(of_rows.len(), 77);
            [
                out.to_vec::<f32>(),
                grads.param(&rows).unwrap().to_vec(),
                grads.param(&table).unwrap().to_vec(),
            ]
        };
        for (fused, plain) in both(true).iter().zip(&both(false)) {
            assert_eq!(fused.len(), plain.len());
            for (a, b) in fused.iter().zip(plain) {
                assert!((a - b).abs() <= 1e-3 + 1e-5 * b.abs(), "{a} {b}");
            }
        }
    }
}
