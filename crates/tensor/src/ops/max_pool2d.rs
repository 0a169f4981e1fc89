//! The largest element of each window of an image.

use super::avg_pool2d::Pool2dOptions;
#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Windows;
use crate::kernels::pool::{max, spread};
use crate::tensor::Tensor;

/// The largest element of each window, PyTorch's `max_pool2d`: `[batch, channels, height, width]` to
/// `[batch, channels, ..]`. Elements of the padding are never taken; the gradient goes to the first of
/// equal elements. `count_include_pad` has no meaning here.
///
/// # Panics
/// Where the input has not four dimensions, the window does not fit, or the padding is more than half of it.
///
/// ```
/// use rappel_tensor::{DType, Pool2dOptions, Tensor, max_pool2d};
/// let x = Tensor::arange(16, DType::F32).reshape([1, 1, 4, 4]);
/// assert_eq!(max_pool2d(&x, &Pool2dOptions::new([2, 2])).to_vec::<f32>(), [5.0, 7.0, 13.0, 15.0]);
/// ```
#[track_caller]
#[must_use]
pub fn max_pool2d(x: &Tensor, options: &Pool2dOptions) -> Tensor {
    let (shape, out) = options.checked("max_pool2d", x);
    let Pool2dOptions { kernel, stride, padding, dilation, .. } = *options;
    let size = [shape[2], shape[3]];
    let windows = Windows { size, kernel, out, stride, padding, dilation };
    let planes = shape[0] * shape[1];
    let input = x.detach().contiguous().reshape([planes, size[0], size[1]]);
    let (y, places) = max(&windows, &input);
    y.reshape([shape[0], shape[1], out[0], out[1]]).record(&[x], move |grad, sink| {
        let grad = grad.contiguous().reshape([planes, out[0], out[1]]);
        sink.add(0, || spread(&grad, &places, size).reshape(shape));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "max_pool2d",
    samples: |draw| {
        let mut sample = |what: &str, kernel: [usize; 2]| {
            let options = Pool2dOptions {
                stride: [draw.size(1, 3), draw.size(1, 2)],
                padding: kernel.map(|k| draw.size(0, k / 2)),
                dilation: [draw.size(1, 2), 1],
                ceil_mode: draw.size(0, 1) == 1,
                ..Pool2dOptions::new(kernel)
            };
            let x = [2, 2, draw.size(5, 8), draw.size(5, 9)];
            let count = x.iter().product();
            // All different, and further apart than differences go.
            let values: Vec<f64> = (0..count).map(|i| (i * 7919 % count) as f64 * 0.01).collect();
            let x = Tensor::from_slice(&values, x);
            Sample::new(what, vec![x], move |x| max_pool2d(&x[0], &options))
        };
        vec![sample("two by two", [2, 2]), sample("three by two", [3, 2])]
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_is_seen() {
        let x = Tensor::from_slice(&[1.0_f32, f32::NAN, 3.0, 2.0], [1, 1, 2, 2]);
        assert!(max_pool2d(&x, &Pool2dOptions::new([2, 2])).item().is_nan());
    }
}
