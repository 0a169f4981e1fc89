//! Layers by matrices that are stored in a few bits a number, and are not trained.

use std::sync::Arc;

#[cfg(test)]
use super::{Operation, Sample};
use super::{WeightLayout, embedding, linear, linear_cross_entropy_of, linear_log_probs_of};
use crate::CrossEntropy;
#[cfg(test)]
use crate::dtype::DType;
use crate::kernels::args::Matrices;
use crate::kernels::index::checked;
use crate::kernels::quantized::{product, product_into, take};
use crate::precision::matmul_precision;
use crate::quantized::{Quantized, Weight};
use crate::tensor::Tensor;

/// `x W`, as [`linear`] without a bias; the matrix is never whole in memory.
#[track_caller]
fn quantized_linear(x: &Tensor, weight: &Arc<Quantized>, layout: WeightLayout) -> Tensor {
    let (sx, sw, dtype) = (x.shape(), weight.shape(), x.dtype());
    let [inputs, outputs] = match layout {
        WeightLayout::OutIn => [sw[1], sw[0]],
        WeightLayout::InOut => [sw[0], sw[1]],
    };
    assert!(
        sx.rank() >= 1 && sx[sx.rank() - 1] == inputs,
        "linear: input {sx} and weight {sw} ({layout:?}) do not meet"
    );
    let rows = sx[..sx.rank() - 1].iter().product();
    let input = Matrices::new(&x.detach().reshape([rows, inputs]));
    let across = (layout == WeightLayout::InOut) != weight.is_transposed();
    let precision = matmul_precision();
    let mut shape = sx;
    shape[sx.rank() - 1] = outputs;
    let weight = weight.clone();
    let out = product(&input, &weight, across, precision).reshape(shape);
    out.record(&[x], move |grad, sink| {
        let grad = Matrices::new(&grad.reshape([rows, outputs]).contiguous());
        sink.write(0, sx, dtype, |target| {
            product_into(&grad, &weight, !across, precision, target);
        });
    })
}

impl Weight {
    /// `x W + b`; see [`linear`].
    ///
    /// # Panics
    /// Where sizes or types do not meet.
    #[track_caller]
    #[must_use]
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Tensor {
        match self {
            Self::Dense(weight) => linear(x, weight, bias, layout),
            Self::Quantized(weight, _) => {
                let product = quantized_linear(x, weight, layout);
                bias.map_or_else(|| product.clone(), |bias| &product + bias)
            }
        }
    }

    /// Rows of the matrix; see [`embedding`].
    ///
    /// # Panics
    /// Where an id is outside the matrix.
    #[track_caller]
    #[must_use]
    pub fn embedding(&self, ids: &Tensor) -> Tensor {
        match self {
            Self::Dense(table) => embedding(ids, table),
            Self::Quantized(table, dtype) => {
                let shape = table.shape();
                if table.is_transposed() {
                    return embedding(ids, &table.dequantize(*dtype));
                }
                let chosen = checked("embedding", ids, shape[0], "a vocabulary");
                take(table, &chosen, *dtype).reshape(ids.shape().inserted(ids.rank(), shape[1]))
            }
        }
    }

    /// The cross-entropy of logits `hidden W^T`; see [`linear_cross_entropy`](super::linear_cross_entropy).
    ///
    /// # Panics
    /// Where sizes or types do not meet.
    #[track_caller]
    #[must_use]
    pub fn cross_entropy(
        &self,
        hidden: &Tensor,
        targets: &Tensor,
        options: &CrossEntropy,
    ) -> Tensor {
        linear_cross_entropy_of(hidden, self, targets, options)
    }

    /// Log-probabilities of tokens by logits that this matrix makes; see [`linear_log_probs`](crate::linear_log_probs).
    ///
    /// # Panics
    /// Where sizes or types do not meet.
    #[track_caller]
    #[must_use]
    pub fn log_probs(&self, hidden: &Tensor, targets: &Tensor, softcap: Option<f64>) -> Tensor {
        linear_log_probs_of(hidden, self, targets, softcap)
    }
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "quantized",
    samples: |draw| {
        use crate::quantized::CodeBook;
        let (b, t) = (draw.size(1, 3), draw.size(1, 4));
        let (i, o) = (draw.size(1, 9), draw.size(1, 9));
        let weight = draw.normal([o, i]);
        let four = Arc::new(Quantized::four_bits(&weight, CodeBook::Nf4, true));
        let eight = Arc::new(Quantized::eight_bits(&weight));
        let targets = draw.indices([b, t], o);
        let head = Weight::Quantized(eight.clone(), DType::F64);
        vec![
            Sample::new("out in", vec![draw.normal([b, t, i]), draw.normal([o])], move |x| {
                let weight = Weight::Quantized(four.clone(), DType::F64);
                weight.linear(&x[0], Some(&x[1]), WeightLayout::OutIn)
            }),
            Sample::new("in out", vec![draw.normal([b, t, o])], move |x| {
                let weight = Weight::Quantized(eight.clone(), DType::F64);
                weight.linear(&x[0], None, WeightLayout::InOut)
            }),
            Sample::new("cross-entropy", vec![draw.normal([b, t, i])], move |x| {
                head.cross_entropy(&x[0], &targets, &CrossEntropy::default())
            }),
        ]
    },
};
