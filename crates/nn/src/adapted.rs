//! Linear layers whose weights may have the form of a low rank.

use rappel_tensor::{Adapted, Param, Tensor, WeightLayout, dropout, linear, no_grad};

use crate::forward::Forward;

/// `x w^T + b`. A weight with the form of a low rank is never made whole: its input is multiplied by the parts.
#[track_caller]
pub(crate) fn adapted_linear(
    x: &Tensor,
    weight: &Param,
    bias: Option<&Tensor>,
    layout: WeightLayout,
    forward: &Forward,
) -> Tensor {
    let Some(adapted) = weight.adapted() else {
        return weight.weight().linear(x, bias, layout);
    };
    let Adapted { form, weight: constant, a, b, magnitude } = &adapted;
    if !forward.adapters {
        return constant.linear(x, bias, layout);
    }
    let dropped = (forward.train && form.dropout > 0.0).then(|| {
        let key = forward.key.with_name("lora_dropout").with(weight.index() as u64);
        dropout(x, form.dropout, key)
    });
    let input = dropped.as_ref().unwrap_or(x);
    let [down, up] = [a, b].map(|part| part.to_dtype(x.dtype()));
    let low = linear(input, &down, None, WeightLayout::OutIn);
    let product = linear(&low, &up, None, WeightLayout::OutIn) * form.scale;
    let Some(magnitude) = magnitude else {
        return constant.linear(x, bias, layout) + product;
    };
    let norms = no_grad(|| form.norms(&constant.tensor(), a, b));
    let factors = (magnitude / &norms).to_dtype(x.dtype());
    // The input of the rows' change of size is dropped, too.
    let Some(dropped) = dropped else {
        let sum = (constant.linear(x, None, layout) + product) * factors;
        return bias.map_or_else(|| sum.clone(), |bias| &sum + bias);
    };
    let changed = constant.linear(&dropped, None, layout) * (&factors - 1.0);
    constant.linear(x, bias, layout) + changed + product * factors
}
