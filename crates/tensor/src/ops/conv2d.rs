//! Convolutions of images.

#[cfg(test)]
use super::{Operation, Sample};
use crate::autograd::Target;
use crate::dtype::DType;
use crate::kernels::args::Convolution;
use crate::kernels::conv::{forward, input_gradient, weight_gradient};
use crate::precision::matmul_precision;
use crate::tensor::Tensor;

/// How a convolution's kernel moves over an image: heights before widths.
///
/// ```
/// use rappel_tensor::Conv2dOptions;
/// let half = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Conv2dOptions::default() };
/// assert_eq!((half.dilation, half.groups), ([1, 1], 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Pixels from a place of the kernel to the next; 1 by default.
    pub stride: [usize; 2],
    /// Zeros on each side of the image; 0 by default.
    pub padding: [usize; 2],
    /// Pixels between neighbouring elements of the kernel; 1 by default.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see one another; 1 by default.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

impl Conv2dOptions {
    /// Sizes that a kernel of `kernel` leaves of `size`, where it fits.
    #[must_use]
    pub fn output(&self, size: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let one = |i: usize| {
            let reach = kernel[i].checked_sub(1)? * self.dilation[i] + 1;
            let room = (size[i] + 2 * self.padding[i]).checked_sub(reach)?;
            room.checked_div(self.stride[i]).map(|steps| steps + 1)
        };
        Some([one(0)?, one(1)?])
    }
}

/// The cross-correlation of images with a kernel, PyTorch's `conv2d`: `x` `[batch, inputs, height, width]` to
/// `[batch, outputs, ..]`.
///
/// `weight` is `[outputs, inputs / groups, kernel height, kernel width]`, `bias` `[outputs]`. Numbers are
/// added up in single precision for bfloat16.
///
/// # Panics
/// Where sizes or types do not meet, or the kernel does not fit the padded image.
///
/// ```
/// use rappel_tensor::{Conv2dOptions, DType, Tensor, conv2d};
/// let x = Tensor::arange(9, DType::F32).reshape([1, 1, 3, 3]);
/// let mean = Tensor::full([1, 1, 2, 2], 0.25, DType::F32);
/// let y = conv2d(&x, &mean, None, &Conv2dOptions::default());
/// assert_eq!(y.to_vec::<f32>(), [2.0, 3.0, 5.0, 6.0]);
/// ```
#[track_caller]
#[must_use]
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &Conv2dOptions,
) -> Tensor {
    if x.dtype() == DType::BF16 {
        let [x, weight] = [x, weight].map(|t| t.to_dtype(DType::F32));
        let bias = bias.map(|bias| bias.to_dtype(DType::F32));
        return conv2d(&x, &weight, bias.as_ref(), options).to_dtype(DType::BF16);
    }
    let (sx, sw, groups) = (x.shape(), weight.shape(), options.groups);
    let fits = sx.rank() == 4
        && sw.rank() == 4
        && groups > 0
        && sx[1] == sw[1] * groups
        && sw[0].is_multiple_of(groups)
        && sx.count() > 0
        && sw.count() > 0
        && bias.is_none_or(|bias| *bias.shape() == [sw[0]]);
    let out = if fits { options.output([sx[2], sx[3]], [sw[2], sw[3]]) } else { None };
    let Some(out) = out else {
        let bias = bias.map(Tensor::shape);
        panic!("conv2d: input {sx}, weight {sw}, bias {bias:?} and {options:?} do not meet");
    };
    check_types("conv2d", x, weight, bias);
    let conv = Convolution {
        batch: sx[0],
        groups,
        inputs: sx[1],
        outputs: sw[0],
        size: [sx[2], sx[3]],
        kernel: [sw[2], sw[3]],
        out,
        stride: options.stride,
        padding: options.padding,
        dilation: options.dilation,
        precision: matmul_precision(),
    };
    let (input, kernel) = (x.detach().contiguous(), weight.detach().contiguous());
    let y = forward(&conv, &input, &kernel, bias.map(|b| b.detach().contiguous()).as_ref());
    record(
        y,
        [x, weight],
        bias,
        move |grad| input_gradient(&conv, grad, &kernel, None),
        move |grad, target| weight_gradient(&conv, grad, &input, target),
    )
}

#[track_caller]
pub(super) fn check_types(name: &str, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) {
    let dtype = x.dtype();
    assert!(
        dtype.is_float() && weight.dtype() == dtype && bias.is_none_or(|b| b.dtype() == dtype),
        "{name}: input is {dtype}, weight {}, bias {:?}",
        weight.dtype(),
        bias.map(Tensor::dtype)
    );
}

/// `y` as the result of a convolution, or of its transpose, of an input and a weight. From the gradient of `y` come that of the
/// input, and that of the weight where it is wanted.
pub(super) fn record(
    y: Tensor,
    [x, weight]: [&Tensor; 2],
    bias: Option<&Tensor>,
    of_input: impl FnOnce(&Tensor) -> Tensor + Send + 'static,
    of_weight: impl FnOnce(&Tensor, &mut Target<'_>) + Send + 'static,
) -> Tensor {
    let parents: &[&Tensor] = match bias {
        Some(bias) => &[x, weight, bias],
        None => &[x, weight],
    };
    let (biased, shape, dtype) = (bias.is_some(), weight.shape(), x.dtype());
    y.record(parents, move |grad, sink| {
        let grad = grad.contiguous();
        if biased {
            sink.add(2, || sum_of_channels(&grad));
        }
        sink.write(1, shape, dtype, |target| of_weight(&grad, target));
        sink.add(0, || of_input(&grad));
    })
}

/// The sum of each channel of `[batch, channels, ..]`.
fn sum_of_channels(x: &Tensor) -> Tensor {
    let (batch, channels) = (x.size(0), x.size(1));
    x.reshape([batch, channels, x.count() / (batch * channels)]).sum_axis(2).sum_axis(0)
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "conv2d",
    samples: |draw| {
        let mut sample = |what: &str, groups: usize, [i, o]: [usize; 2], kernel: [usize; 2]| {
            let options = Conv2dOptions {
                stride: [draw.size(1, 2), draw.size(1, 3)],
                padding: [draw.size(0, 2), draw.size(0, 2)],
                dilation: [draw.size(1, 2), draw.size(1, 2)],
                groups,
            };
            let size = [draw.size(1, 2), i * groups, draw.size(5, 8), draw.size(5, 9)];
            let weight = [o * groups, i, kernel[0], kernel[1]];
            let inputs = vec![draw.normal(size), draw.normal(weight), draw.normal([o * groups])];
            Sample::new(what, inputs, move |x| conv2d(&x[0], &x[1], Some(&x[2]), &options))
        };
        vec![
            sample("plain", 1, [2, 3], [3, 2]),
            sample("groups", 2, [2, 1], [2, 3]),
            sample("depthwise", 3, [1, 2], [3, 3]),
            sample("pointwise", 1, [3, 2], [1, 1]),
        ]
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    /// A convolution by its definition, in double precision.
    fn plain(x: &Tensor, w: &Tensor, options: &Conv2dOptions) -> Vec<f64> {
        let (sx, sw) = (x.shape(), w.shape());
        let [height, width] = options.output([sx[2], sx[3]], [sw[2], sw[3]]).unwrap();
        let (x, w) = (x.to_f64_vec(), w.to_f64_vec());
        let mut y = Vec::new();
        for n in 0..sx[0] {
            for o in 0..sw[0] {
                let first = o / (sw[0] / options.groups) * sw[1];
                for place in 0..height * width {
                    let mut sum = 0.0;
                    for tap in 0..sw[1] * sw[2] * sw[3] {
                        let (i, ky, kx) = (tap / (sw[2] * sw[3]), tap / sw[3] % sw[2], tap % sw[3]);
                        let at = |axis: usize, out: usize, k: usize| {
                            (out * options.stride[axis] + k * options.dilation[axis])
                                .checked_sub(options.padding[axis])
                                .filter(|at| *at < sx[2 + axis])
                        };
                        if let (Some(py), Some(px)) =
                            (at(0, place / width, ky), at(1, place % width, kx))
                        {
                            let pixel = ((n * sx[1] + first + i) * sx[2] + py) * sx[3] + px;
                            sum += x[pixel] * w[o * sw[1] * sw[2] * sw[3] + tap];
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }

    /// Sizes that are cut into several pieces, blocks of channels and blocks of images.
    const LARGE: [([usize; 4], [usize; 4], usize); 6] = [
        ([3, 70, 19, 33], [9, 70, 3, 3], 1),
        ([70, 50, 5, 5], [6, 50, 3, 3], 1),
        ([2, 8, 3, 600], [4, 8, 1, 1], 1),
        ([70, 8, 4, 4], [5, 8, 1, 1], 1),
        ([2, 6, 40, 37], [12, 1, 7, 7], 6),
        ([2, 6, 20, 21], [4, 3, 5, 3], 2),
    ];

    #[test]
    fn large_convolutions_are_what_the_definition_says() {
        for (sx, sw, groups) in LARGE {
            for (stride, padding) in [([1, 1], [0, 0]), ([2, 3], [1, 2])] {
                let options = Conv2dOptions { stride, padding, groups, ..Conv2dOptions::default() };
                let x = Tensor::randn(sx, DType::F64, Key::new(1));
                let w = Tensor::randn(sw, DType::F64, Key::new(2));
                let found = conv2d(&x, &w, None, &options).to_f64_vec();
                let want = plain(&x, &w, &options);
                assert_eq!(found.len(), want.len());
                for (found, want) in found.iter().zip(want) {
                    assert!((found - want).abs() <= 1e-11 * want.abs().max(1.0), "{sx:?} {sw:?}");
                }
            }
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        for (sx, sw, groups) in LARGE {
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let options =
                        Conv2dOptions { padding: [1, 1], groups, ..Conv2dOptions::default() };
                    let x = Tensor::randn(sx, DType::F32, Key::new(1)).requires_grad();
                    let w = Tensor::randn(sw, DType::F32, Key::new(2)).requires_grad();
                    let y = conv2d(&x, &w, None, &options);
                    let grads = (&y * &Tensor::randn(y.shape(), DType::F32, Key::new(3))).sum();
                    let grads = grads.backward();
                    [&y, grads.of(&x).unwrap(), grads.of(&w).unwrap()].map(Tensor::to_vec::<f32>)
                })
            };
            assert_eq!(run(1), run(3));
        }
    }
}
