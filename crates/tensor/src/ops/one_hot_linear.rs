//! The linear map of rows of zeros and a few ones: columns of the weight, looked up and added.

#[cfg(test)]
use super::{Operation, Sample};
use crate::dtype::DType;
use crate::kernels::one_hot::{add_to_columns, sum_columns};
use crate::tensor::Tensor;

/// `x W^T` for rows `x` that are 0 but for ones at `ids` `[rows, ones]`, i64: with `weight`
/// `[outputs, inputs]` the sums `[rows, outputs]` of its columns of these numbers. -1 selects none. A
/// number that a row has twice counts twice.
///
/// Neither `x` nor a product with its zeros is made. The gradient of `weight` is that of the product.
///
/// # Panics
/// Where an id is below -1 or not below `inputs`, or shapes and types are others.
///
/// ```
/// use rappel_tensor::{Tensor, one_hot_linear};
/// let weight = Tensor::from_slice(&[1.0_f32, 2.0, 4.0, 8.0, 16.0, 32.0], [2, 3]);
/// let ids = Tensor::from_slice(&[0_i64, 2, 1, -1], [2, 2]);
/// assert_eq!(one_hot_linear(&ids, &weight).to_vec::<f32>(), [5.0, 40.0, 2.0, 16.0]);
/// ```
#[track_caller]
#[must_use]
pub fn one_hot_linear(ids: &Tensor, weight: &Tensor) -> Tensor {
    let (shape, dtype) = (weight.shape(), weight.dtype());
    assert!(shape.rank() == 2, "one_hot_linear: weight {shape} is not [outputs, inputs]");
    assert!(ids.rank() == 2, "one_hot_linear: ids {} are not [rows, ones]", ids.shape());
    assert!(ids.dtype() == DType::I64, "one_hot_linear: ids are {}, not i64", ids.dtype());
    let (ids, inputs) = (ids.detach().contiguous(), shape[1]);
    let wrong = |id: &&i64| **id < -1 || **id >= inputs as i64;
    if let Some(id) = ids.slice::<i64>().iter().find(wrong) {
        panic!("one_hot_linear: id {id} is neither -1 nor one of {inputs} inputs");
    }
    let sums = sum_columns(&ids, &weight.detach().contiguous());
    sums.record(&[weight], move |grad, sink| {
        sink.write(0, shape, dtype, |target| add_to_columns(&grad, &ids, inputs, target));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "one_hot_linear",
    samples: |draw| {
        let (inputs, outputs) = (draw.size(1, 6), draw.size(1, 5));
        let shape = [draw.size(1, 4), draw.size(1, 3)];
        let ids = draw.indices(shape, inputs + 1).to_vec::<i64>();
        // One more than there are inputs: none of them.
        let ids: Vec<i64> = ids.into_iter().map(|id| id - 1).collect();
        let ids = Tensor::from_slice(&ids, shape);
        let inputs = vec![draw.normal([outputs, inputs])];
        vec![Sample::new("some without", inputs, move |x| one_hot_linear(&ids, &x[0]))]
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Init, Params};
    use crate::random::Key;
    use crate::{WeightLayout, linear};

    /// Ids of two columns of categories, 7 and 5, some of none.
    fn ids(rows: usize) -> Vec<[i64; 2]> {
        let id =
            |row: usize, key: u64, of: u64| Key::new(key).with(row as u64).below(of) as i64 - 1;
        (0..rows)
            .map(|row| [id(row, 1, 8), id(row, 2, 6)])
            .map(|[a, b]| [a, if b < 0 { b } else { b + 7 }])
            .collect()
    }

    #[test]
    fn it_is_the_product_with_ones_and_zeros() {
        let (rows, inputs, outputs) = (700, 12, 9);
        let ids = ids(rows);
        let mut dense = vec![0.0_f64; rows * inputs];
        for (row, ids) in ids.iter().enumerate() {
            ids.iter()
                .filter(|id| **id >= 0)
                .for_each(|id| dense[row * inputs + *id as usize] = 1.0);
        }
        assert!(ids.as_flattened().contains(&-1) && ids.as_flattened().contains(&11));
        let ids = Tensor::from_slice(ids.as_flattened(), [rows, 2]);
        for (dtype, close) in [(DType::F64, 1e-13), (DType::F32, 1e-5)] {
            let dense = Tensor::from_slice(&dense, [rows, inputs]).to_dtype(dtype);
            let mut params = Params::with_dtype(3, dtype);
            let weight =
                params.scope("").add("weight", [outputs, inputs], Init::Normal { std: 1.0 });
            let slopes = Tensor::randn([rows, outputs], dtype, Key::new(4));
            let of = |y: Tensor| {
                let grads = (&y * &slopes).sum().backward();
                (y.to_f64_vec(), grads.param(&weight).unwrap().to_f64_vec())
            };
            let (y, grad) = of(one_hot_linear(&ids, &weight.tensor()));
            let (want_y, want_grad) =
                of(linear(&dense, &weight.tensor(), None, WeightLayout::OutIn));
            for (got, want) in y.iter().chain(&grad).zip(want_y.iter().chain(&want_grad)) {
                assert!((got - want).abs() <= close * want.abs().max(10.0), "{got}, not {want}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "one_hot_linear: id 3 is neither -1 nor one of 3 inputs")]
    fn ids_are_checked() {
        let ids = Tensor::from_slice(&[0_i64, 3], [1, 2]);
        let _ = one_hot_linear(&ids, &Tensor::zeros([2, 3], DType::F32));
    }
}
