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
    let (y, largest) = max(&windows, &input);
    y.reshape([shape[0], shape[1], out[0], out[1]]).record(&[x], move |grad, sink| {
        let grad = grad.contiguous().reshape([planes, out[0], out[1]]);
        sink.add(0, || spread(&windows, &grad, &largest).reshape(shape));
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
    use crate::dtype::DType;
    use crate::random::Key;

    /// Windows of two by two pixels side by side have kernels of their own.
    #[test]
    fn halving_is_what_the_definition_says() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, 1.0];
        let halve = Pool2dOptions::new([2, 2]);
        for (height, width) in [(2, 2), (3, 5), (8, 34), (7, 67)] {
            let count = 6 * height * width;
            let random = Tensor::randn([count], DType::F32, Key::new(width as u64)).to_vec::<f32>();
            let numbers = random
                .iter()
                .enumerate()
                .map(|(i, x)| if i % 5 == 0 { odd[i / 5 % odd.len()] } else { *x });
            let x: Vec<f32> = numbers.collect();
            let pooled = |x: &Tensor, options: &Pool2dOptions| {
                let x = x.requires_grad();
                let y = max_pool2d(&x, options);
                let grads = (&y * &Tensor::randn(y.shape(), DType::F32, Key::new(9))).sum();
                let dx = grads.backward().of(&x).unwrap().to_vec::<f32>();
                (y.to_vec::<f32>(), dx)
            };
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let plain = Tensor::from_slice(&x, [2, 3, height, width]);
            let (y, dx) = pooled(&plain, &halve);
            let at = |plane: usize, r: usize, c: usize| x[(plane * height + r) * width + c];
            let (mut want, mut gradient) = (Vec::new(), vec![0.0_f32; count]);
            let weights = Tensor::randn([2, 3, height / 2, width / 2], DType::F32, Key::new(9));
            let weights = weights.to_vec::<f32>();
            for plane in 0..6 {
                for window in 0..(height / 2) * (width / 2) {
                    let (r, c) = (window / (width / 2) * 2, window % (width / 2) * 2);
                    let mut best = (r, c);
                    for (r, c) in [(r, c + 1), (r + 1, c), (r + 1, c + 1)] {
                        let (found, largest) = (at(plane, r, c), at(plane, best.0, best.1));
                        if found > largest || (found.is_nan() && !largest.is_nan()) {
                            best = (r, c);
                        }
                    }
                    gradient[(plane * height + best.0) * width + best.1] = weights[want.len()];
                    want.push(at(plane, best.0, best.1));
                }
            }
            assert_eq!(bits(&y), bits(&want), "{height} x {width}");
            assert_eq!(bits(&dx), bits(&gradient), "{height} x {width}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_seen() {
        let x = Tensor::from_slice(&[1.0_f32, f32::NAN, 3.0, 2.0], [1, 1, 2, 2]);
        assert!(max_pool2d(&x, &Pool2dOptions::new([2, 2])).item().is_nan());
    }
}
