//! Transposed convolutions of images.

use super::conv2d::{Conv2dOptions, check_types, record};
#[cfg(test)]
use super::{Operation, Sample};
use crate::dtype::DType;
use crate::kernels::args::Convolution;
use crate::kernels::conv::{forward, input_gradient, weight_gradient};
use crate::precision::matmul_precision;
use crate::tensor::Tensor;

/// The transpose of [`conv2d`](crate::conv2d), PyTorch's `conv_transpose2d`: each pixel of `x`
/// `[batch, inputs, height, width]` adds the kernel, times its value, to the result `[batch, outputs, ..]`.
///
/// `weight` is `[inputs, outputs / groups, kernel height, kernel width]`, `bias` `[outputs]`. The result's
/// height is `(height - 1) stride - 2 padding + dilation (kernel height - 1) + 1 + output_padding`, its
/// width likewise: a convolution with these options makes an image of the size of `x` of it.
///
/// # Panics
/// Where sizes or types do not meet, or `output_padding` is neither below the stride nor below the dilation.
///
/// ```
/// use rappel_tensor::{Conv2dOptions, DType, Tensor, conv_transpose2d};
/// let x = Tensor::from_slice(&[1.0_f32, 2.0], [1, 1, 1, 2]);
/// let kernel = Tensor::ones([1, 1, 1, 2], DType::F32);
/// let options = Conv2dOptions { stride: [1, 2], ..Conv2dOptions::default() };
/// let y = conv_transpose2d(&x, &kernel, None, &options, [0, 0]);
/// assert_eq!(y.to_vec::<f32>(), [1.0, 1.0, 2.0, 2.0]);
/// ```
#[track_caller]
#[must_use]
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &Conv2dOptions,
    output_padding: [usize; 2],
) -> Tensor {
    if x.dtype() == DType::BF16 {
        let [x, weight] = [x, weight].map(|t| t.to_dtype(DType::F32));
        let bias = bias.map(|bias| bias.to_dtype(DType::F32));
        let y = conv_transpose2d(&x, &weight, bias.as_ref(), options, output_padding);
        return y.to_dtype(DType::BF16);
    }
    let (sx, sw, groups) = (x.shape(), weight.shape(), options.groups);
    let fits = sx.rank() == 4
        && sw.rank() == 4
        && groups > 0
        && sx[1] == sw[0]
        && sw[0].is_multiple_of(groups)
        && sx.count() > 0
        && sw.count() > 0
        && bias.is_none_or(|bias| *bias.shape() == [sw[1] * groups]);
    let size = |axis: usize| {
        let (stride, dilation) = (options.stride[axis], options.dilation[axis]);
        let below = output_padding[axis] < stride.max(dilation);
        let reach = (sx[2 + axis] - 1) * stride + dilation * (sw[2 + axis] - 1) + 1;
        let size = (reach + output_padding[axis]).checked_sub(2 * options.padding[axis]);
        size.filter(|size| below && *size > 0)
    };
    let sizes = if fits { size(0).zip(size(1)) } else { None };
    let Some((height, width)) = sizes else {
        let bias = bias.map(Tensor::shape);
        panic!(
            "conv_transpose2d: input {sx}, weight {sw}, bias {bias:?}, {options:?} and output \
             padding {output_padding:?} do not meet"
        );
    };
    check_types("conv_transpose2d", x, weight, bias);
    // The convolution whose transpose this is: its output is `x`.
    let conv = Convolution {
        batch: sx[0],
        groups,
        inputs: sw[1] * groups,
        outputs: sw[0],
        size: [height, width],
        kernel: [sw[2], sw[3]],
        out: [sx[2], sx[3]],
        stride: options.stride,
        padding: options.padding,
        dilation: options.dilation,
        precision: matmul_precision(),
    };
    let (input, kernel) = (x.detach().contiguous(), weight.detach().contiguous());
    let y = input_gradient(&conv, &input, &kernel, bias.map(|b| b.detach().contiguous()).as_ref());
    record(
        y,
        [x, weight],
        bias,
        move |grad| forward(&conv, grad, &kernel, None),
        move |grad, target| weight_gradient(&conv, &input, grad, target),
    )
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "conv_transpose2d",
    samples: |draw| {
        let mut sample = |what: &str, groups: usize, [i, o]: [usize; 2]| {
            let options = Conv2dOptions {
                stride: [draw.size(1, 2), draw.size(1, 3)],
                padding: [draw.size(0, 1), draw.size(0, 1)],
                dilation: [draw.size(1, 2), draw.size(1, 2)],
                groups,
            };
            let extra = options.stride.map(|stride| draw.size(0, stride - 1));
            let size = [draw.size(1, 2), i * groups, draw.size(2, 5), draw.size(2, 5)];
            let weight = [i * groups, o, draw.size(2, 3), draw.size(2, 3)];
            let inputs = vec![draw.normal(size), draw.normal(weight), draw.normal([o * groups])];
            Sample::new(what, inputs, move |x| {
                conv_transpose2d(&x[0], &x[1], Some(&x[2]), &options, extra)
            })
        };
        vec![
            sample("plain", 1, [2, 3]),
            sample("groups", 2, [1, 2]),
            sample("depthwise", 3, [1, 1]),
        ]
    },
};
