//! Weights that learn as a product of a low rank.

use super::form::Part;
use super::{Form, Init};
use crate::WeightLayout;
use crate::dtype::DType;
use crate::quantized::Weight;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// `w = w0 + scale b a`: the weight `w0` of a linear layer is a constant, and what is trained are two matrices of a
/// low rank, `a` `[rank, inputs]` and `b` `[outputs, rank]`, of which `b` begins as zeros
/// (Hu et al., 2021, <https://arxiv.org/abs/2106.09685>).
///
/// With magnitudes `m` `[outputs]` each row of that has the norm that its magnitude says, `m w / ||w||`; they begin as
/// the norms, which gradients do not flow through (Liu et al., 2024, <https://arxiv.org/abs/2402.09353>).
///
/// Beside `weight`: `lora_A.weight`, `lora_B.weight` and `lora_magnitude_vector`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRank {
    /// The rank.
    pub rank: usize,
    /// The factor of the product.
    pub scale: f64,
    /// The probability with which each input of the product is dropped in training.
    pub dropout: f64,
    /// Whether rows have magnitudes.
    pub magnitude: bool,
    /// How `a` begins.
    pub a: Init,
    /// How `b` begins.
    pub b: Init,
    /// How the weight lies; the layer says.
    pub layout: WeightLayout,
}

/// The parts of a weight with this form.
#[derive(Debug)]
pub struct Adapted {
    /// What it is.
    pub form: LowRank,
    /// `w0`, as it lies.
    pub weight: Weight,
    /// `[rank, inputs]`.
    pub a: Tensor,
    /// `[outputs, rank]`.
    pub b: Tensor,
    /// `[outputs]`.
    pub magnitude: Option<Tensor>,
}

impl Form {
    /// The type of what is trained beside a weight of `dtype`.
    pub(super) fn dtype(self, dtype: DType) -> DType {
        match (self, dtype) {
            (Self::LowRank(_), DType::BF16) => DType::F32,
            _ => dtype,
        }
    }
}

impl LowRank {
    pub(super) fn parts(self, last: &str, shape: Shape, init: Init) -> Vec<Part> {
        let [outputs, inputs] = match self.layout {
            WeightLayout::OutIn => [shape[0], shape[1]],
            WeightLayout::InOut => [shape[1], shape[0]],
        };
        let part = |name: &str, shape: Shape, init| Part {
            name: name.to_owned(),
            shape,
            init,
            trained: true,
            is_weight: false,
        };
        let weight = Part { name: last.to_owned(), shape, init, trained: false, is_weight: true };
        let mut parts = vec![
            weight,
            part("lora_A.weight", Shape::from([self.rank, inputs]), self.a),
            part("lora_B.weight", Shape::from([outputs, self.rank]), self.b),
        ];
        if self.magnitude {
            parts.push(part("lora_magnitude_vector", Shape::from([outputs]), Init::ONES));
        }
        parts
    }

    /// `w0 + scale b a` as it lies, in the type that sums are computed in.
    fn sum(self, weight: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
        let wide = |tensor: &Tensor| tensor.to_dtype(tensor.dtype().accumulator());
        let product = wide(b).matmul(&wide(a)) * self.scale;
        match self.layout {
            WeightLayout::OutIn => wide(weight) + product,
            WeightLayout::InOut => wide(weight) + product.t(),
        }
    }

    /// The norm of each output's weights, `[outputs]`.
    #[must_use]
    pub fn norms(self, weight: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
        let squares = self.sum(weight, a, b).square();
        match self.layout {
            WeightLayout::OutIn => squares.sum_axis(1),
            WeightLayout::InOut => squares.sum_axis(0),
        }
        .sqrt()
    }

    /// The weight, from its parts.
    pub(super) fn weight(
        self,
        weight: &Tensor,
        a: &Tensor,
        b: &Tensor,
        magnitude: Option<&Tensor>,
    ) -> Tensor {
        let sum = self.sum(weight, a, b);
        let scaled = match magnitude {
            None => sum,
            Some(magnitude) => {
                let factors = magnitude / &self.norms(weight, a, b).detach();
                match self.layout {
                    WeightLayout::OutIn => sum * factors.unsqueeze(1),
                    WeightLayout::InOut => sum * factors,
                }
            }
        };
        scaled.to_dtype(weight.dtype())
    }
}
