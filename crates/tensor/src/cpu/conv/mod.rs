//! Convolutions of images `[batch, channels, height, width]`.
//!
//! Where a group has several input channels, a convolution is a product of the weight with a matrix of
//! columns, of which a piece that fits the second-level cache is made at a time ([`product`]); that of
//! a 1x1 kernel is the input itself. Where it has one, as in depthwise convolutions, taps are added up
//! in registers ([`depthwise`]). Both read rows of [`plane`]s, in which padding is zeros and strides
//! are sorted out.
//!
//! Pieces depend on sizes alone, each place is written by one task and gradients of the weight are
//! summed in a fixed number of parts: the same bits on any number of threads.

mod blocks;
mod columns;
mod depthwise;
mod plane;
mod product;

use crate::autograd::Target;
use crate::dtype::DType;
use crate::kernels::args::Convolution;
use crate::profile::{Timer, timed};
use crate::tensor::Tensor;

fn count(conv: &Convolution, dtype: DType) -> Timer {
    let (batch, outputs, places) = (conv.batch as f64, conv.outputs as f64, conv.places() as f64);
    let taps = (conv.group_inputs() * conv.taps()) as f64;
    let moved = batch * (outputs * places + (conv.inputs * conv.pixels()) as f64);
    let flops = 2.0 * batch * outputs * places * taps;
    timed("convolution", flops, dtype.size() as f64 * (moved + outputs * taps))
}

/// Outputs of one input channel up to which gradients are added up tap by tap: of more, products are faster.
const MOST_OUTPUTS: usize = 8;

/// Runs a function of [`product`] or [`depthwise`] in the type of the numbers.
macro_rules! choose {
    ($conv:expr, $dtype:expr, $most:expr, $function:ident($($argument:expr),*)) => {
        match ($dtype, $conv.group_inputs() == 1 && $conv.group_outputs() <= $most) {
            (DType::F32, false) => product::$function::<f32>($conv, $($argument),*),
            (DType::F64, false) => product::$function::<f64>($conv, $($argument),*),
            (DType::F32, true) => depthwise::$function::<f32>($conv, $($argument),*),
            (DType::F64, true) => depthwise::$function::<f64>($conv, $($argument),*),
            (other, _) => panic!("convolution: no kernel for {other}"),
        }
    };
}

/// `[batch, outputs, ..]` of an input `[batch, inputs, ..]`, a weight `[outputs, inputs of a group, ..]`
/// and a bias `[outputs]`, all contiguous.
pub(crate) fn forward(conv: &Convolution, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let _timer = count(conv, x.dtype());
    let shape = [conv.batch, conv.outputs, conv.out[0], conv.out[1]];
    let mut out = Tensor::uninit(shape.into(), x.dtype());
    choose!(conv, x.dtype(), usize::MAX, forward(x, w, bias, &mut out));
    out
}

/// The gradient of the input from that of the output, on top of a `bias` `[inputs]`: what a transposed
/// convolution computes.
pub(crate) fn input_gradient(
    conv: &Convolution,
    grad: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
) -> Tensor {
    let _timer = count(conv, grad.dtype());
    let shape = [conv.batch, conv.inputs, conv.size[0], conv.size[1]];
    let mut dx = Tensor::uninit(shape.into(), grad.dtype());
    choose!(conv, grad.dtype(), MOST_OUTPUTS, input_gradient(grad, w, bias, &mut dx));
    dx
}

/// Writes, or adds, the gradient of the weight.
pub(crate) fn weight_gradient(
    conv: &Convolution,
    grad: &Tensor,
    x: &Tensor,
    target: &mut Target<'_>,
) {
    let _timer = count(conv, grad.dtype());
    choose!(conv, grad.dtype(), MOST_OUTPUTS, weight_gradient(grad, x, target));
}

/// Writes each channel's bias, or zero, to a whole channel.
fn fill<T: crate::dtype::Element>(channel: &mut [T], bias: Option<&Tensor>, index: usize) {
    channel.fill(bias.map_or(T::from_f64(0.0), |bias| bias.slice::<T>()[index]));
}
