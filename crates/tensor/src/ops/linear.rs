//! The affine map of a layer: a matrix product with its bias added while results are in cache.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Matrices;
use crate::kernels::matmul::{biased_product, products, products_into};
use crate::kernels::reduce::sum_of_rows;
use crate::precision::matmul_precision;
use crate::tensor::Tensor;

/// Which way round a weight matrix is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[outputs, inputs]`, as PyTorch's `Linear`.
    OutIn,
    /// `[inputs, outputs]`, as GPT-2's `Conv1D`.
    InOut,
}

/// `x W + b` over the last dimension: `[.., inputs]` becomes `[.., outputs]`.
///
/// `weight` is `[outputs, inputs]` or `[inputs, outputs]`, as `layout` says; `bias` is `[outputs]`.
///
/// # Panics
/// Where sizes or types do not meet.
///
/// ```
/// use rappel_tensor::{Tensor, WeightLayout, linear};
/// let x = Tensor::from_slice(&[1.0_f32, 2.0], [1, 2]);
/// let w = Tensor::from_slice(&[3.0_f32, 4.0], [1, 2]);
/// let b = Tensor::from_slice(&[0.5_f32], [1]);
/// assert_eq!(linear(&x, &w, Some(&b), WeightLayout::OutIn).to_vec::<f32>(), [11.5]);
/// ```
#[track_caller]
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Tensor {
    let (sx, sw, dtype) = (x.shape(), weight.shape(), x.dtype());
    let fits = sx.rank() >= 1 && sw.rank() == 2;
    let (inputs, outputs) = match layout {
        WeightLayout::OutIn if fits => (sw[1], sw[0]),
        WeightLayout::InOut if fits => (sw[0], sw[1]),
        _ => panic!("linear: input {sx} and weight {sw} are not rows and a matrix"),
    };
    assert!(
        sx[sx.rank() - 1] == inputs && bias.is_none_or(|b| *b.shape() == [outputs]),
        "linear: input {sx}, weight {sw} ({layout:?}) and bias {:?} do not meet",
        bias.map(Tensor::shape)
    );
    assert!(weight.dtype() == dtype, "linear: input is {dtype}, weight {}", weight.dtype());
    let rows = sx[..sx.rank() - 1].iter().product();
    let input = Matrices::new(&x.detach().reshape([rows, inputs]));
    let stored = Matrices::new(weight);
    let matrix = if layout == WeightLayout::OutIn { stored.t() } else { stored };
    let precision = matmul_precision();
    let values = bias.map(|b| b.detach().contiguous());
    let out = match &values {
        None => products(&input, &matrix, precision),
        Some(bias) => biased_product(&input, &matrix, bias, precision),
    };
    let mut shape = sx;
    shape[sx.rank() - 1] = outputs;
    let parents: &[&Tensor] = match bias {
        Some(bias) => &[x, weight, bias],
        None => &[x, weight],
    };
    let biased = bias.is_some();
    out.reshape(shape).record(parents, move |grad, sink| {
        let grad = grad.reshape([rows, outputs]).contiguous();
        let g = Matrices::new(&grad);
        if biased {
            // Straight into the accumulator that a parameter's gradient is kept in.
            sink.write(2, outputs.into(), dtype, |target| target.put(&sum_of_rows(&grad)));
        }
        sink.write(1, sw, dtype, |target| match layout {
            WeightLayout::OutIn => products_into(&g.t(), &input, precision, target),
            WeightLayout::InOut => products_into(&input.t(), &g, precision, target),
        });
        sink.write(0, sx, dtype, |target| products_into(&g, &matrix.t(), precision, target));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "linear",
    samples: |draw| {
        let (b, t) = (draw.size(1, 3), draw.size(1, 4));
        let (i, o) = (draw.size(1, 6), draw.size(1, 6));
        let x = [b, t, i];
        let out_in = vec![draw.normal(x), draw.normal([o, i]), draw.normal([o])];
        let in_out = vec![draw.normal(x), draw.normal([i, o]), draw.normal([o])];
        let plain = vec![draw.normal(x), draw.normal([o, i])];
        vec![
            Sample::new("out in", out_in, |x| {
                linear(&x[0], &x[1], Some(&x[2]), WeightLayout::OutIn)
            }),
            Sample::new("in out", in_out, |x| {
                linear(&x[0], &x[1], Some(&x[2]), WeightLayout::InOut)
            }),
            Sample::new("no bias", plain, |x| linear(&x[0], &x[1], None, WeightLayout::OutIn)),
        ]
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::params::{Init, Params};
    use crate::random::Key;

    #[test]
    fn gradients_of_bfloat16_biases_are_summed_in_single_precision() {
        let (rows, outputs) = (1000, 40);
        let mut params = Params::with_dtype(0, DType::BF16);
        let mut scope = params.scope("");
        let weight = scope.add("weight", [outputs, 3], Init::ONES);
        let bias = scope.add("bias", [outputs], Init::ZEROS);
        let x = Tensor::ones([rows, 3], DType::BF16);
        let slopes = Tensor::rand([rows, outputs], 0.0, 1.0, DType::F32, Key::new(5));
        let slopes = slopes.to_dtype(DType::BF16);
        let y = linear(&x, &weight.tensor(), Some(&bias.tensor()), WeightLayout::OutIn);
        let found = (y * &slopes).sum().backward().param(&bias).unwrap().to_f64_vec();
        for (found, want) in found.iter().zip(slopes.to_dtype(DType::F64).sum_axis(0).to_f64_vec())
        {
            assert!((found - want).abs() <= 1e-5 * want, "{found}, not {want}");
        }
        // Rounded once where the sum is bfloat16 itself: half a unit of eight bits.
        let sums = slopes.sum_axis(0).to_f64_vec();
        for (sum, want) in sums.iter().zip(&found) {
            assert!((sum - want).abs() <= want / 256.0, "{sum}, not {want}");
        }
    }

    #[test]
    fn a_bias_of_one_number_is_summed_as_any_sum() {
        let mut params = Params::new(0);
        let mut scope = params.scope("");
        let weight = scope.add("weight", [1, 1], Init::ONES);
        let bias = scope.add("bias", [1], Init::ZEROS);
        let x = Tensor::ones([100, 1], DType::F32);
        let slopes = Tensor::randn([100, 1], DType::F32, Key::new(6));
        let y = linear(&x, &weight.tensor(), Some(&bias.tensor()), WeightLayout::OutIn);
        let found = (y * &slopes).sum().backward().param(&bias).unwrap();
        assert_eq!(found.to_vec::<f32>(), [slopes.sum().item() as f32]);
    }
}
