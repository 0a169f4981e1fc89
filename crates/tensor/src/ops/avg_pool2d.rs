//! The mean of each window of an image.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Taps;
use crate::kernels::separable::apply;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Windows over an image: heights before widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dOptions {
    /// Size of a window.
    pub kernel: [usize; 2],
    /// Pixels from a window to the next; the window's size by default.
    pub stride: [usize; 2],
    /// Pixels outside the image on each side, at most half of the window; 0 by default.
    pub padding: [usize; 2],
    /// Pixels between neighbouring elements of a window; 1 by default, and always for averages.
    pub dilation: [usize; 2],
    /// Whether a last window may reach beyond the padding; `false` by default.
    pub ceil_mode: bool,
    /// Whether averages count the padding's zeros; `true` by default.
    pub count_include_pad: bool,
}

impl Pool2dOptions {
    /// Windows of this size, side by side.
    pub fn new(kernel: [usize; 2]) -> Self {
        Self {
            kernel,
            stride: kernel,
            padding: [0, 0],
            dilation: [1, 1],
            ceil_mode: false,
            count_include_pad: true,
        }
    }

    /// How many windows fit into an image of `size`; nothing where none does.
    #[must_use]
    pub fn output(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let one = |i: usize| {
            let (stride, padding) = (self.stride[i], self.padding[i]);
            if stride == 0 || 2 * padding > self.kernel[i] {
                return None;
            }
            let reach = self.kernel[i].checked_sub(1)? * self.dilation[i] + 1;
            let room = (size[i] + 2 * padding).checked_sub(reach)?;
            let windows = if self.ceil_mode { room.div_ceil(stride) } else { room / stride } + 1;
            // The last window begins in the image or in the padding before it.
            let outside = self.ceil_mode && (windows - 1) * stride >= size[i] + padding;
            Some(windows - usize::from(outside))
        };
        Some([one(0)?, one(1)?])
    }

    /// The shape of the input, and the output's size.
    #[track_caller]
    pub(super) fn checked(&self, name: &str, x: &Tensor) -> (Shape, [usize; 2]) {
        let shape = x.shape();
        let fits = shape.rank() == 4 && shape.count() > 0 && x.dtype().is_float();
        let out = if fits { self.output([shape[2], shape[3]]) } else { None };
        let out = out.unwrap_or_else(|| {
            panic!("{name}: input {shape} of {} and {self:?} do not meet", x.dtype())
        });
        (shape, out)
    }
}

/// The mean of each window, PyTorch's `avg_pool2d`: `[batch, channels, height, width]` to
/// `[batch, channels, ..]`.
///
/// # Panics
/// Where the input has not four dimensions, the window does not fit, the padding is more than half of it,
/// or the dilation is not 1.
///
/// ```
/// use rappel_tensor::{DType, Pool2dOptions, Tensor, avg_pool2d};
/// let x = Tensor::arange(16, DType::F32).reshape([1, 1, 4, 4]);
/// assert_eq!(avg_pool2d(&x, &Pool2dOptions::new([2, 2])).to_vec::<f32>(), [2.5, 4.5, 10.5, 12.5]);
/// ```
#[track_caller]
#[must_use]
pub fn avg_pool2d(x: &Tensor, options: &Pool2dOptions) -> Tensor {
    let (shape, out) = options.checked("avg_pool2d", x);
    assert!(options.dilation == [1, 1], "avg_pool2d: {options:?} has a dilation");
    let taps = |axis: usize| {
        let (size, padding) = (shape[2 + axis], options.padding[axis]);
        Taps::new(out[axis], |i| {
            let first = i * options.stride[axis];
            let end = (first + options.kernel[axis]).min(size + 2 * padding);
            let inside = first.saturating_sub(padding)..(end - padding.min(end)).min(size);
            let count = if options.count_include_pad { end - first } else { inside.len() };
            inside.map(move |j| (j, 1.0 / count as f64))
        })
    };
    resample(x, taps(0), taps(1))
}

/// The mean of `size` windows that cover the image evenly, PyTorch's `adaptive_avg_pool2d`; `[1, 1]` is the
/// mean of each channel.
///
/// # Panics
/// Where the input has not four dimensions, or a size is zero.
///
/// ```
/// use rappel_tensor::{DType, Tensor, adaptive_avg_pool2d};
/// let x = Tensor::arange(16, DType::F32).reshape([1, 1, 4, 4]);
/// assert_eq!(adaptive_avg_pool2d(&x, [1, 1]).to_vec::<f32>(), [7.5]);
/// ```
#[track_caller]
#[must_use]
pub fn adaptive_avg_pool2d(x: &Tensor, size: [usize; 2]) -> Tensor {
    let shape = x.shape();
    let fits = shape.rank() == 4 && shape.count() > 0 && x.dtype().is_float();
    assert!(fits && size[0] * size[1] > 0, "adaptive_avg_pool2d: no {size:?} of input {shape}");
    let taps = |axis: usize| {
        let (from, to) = (shape[2 + axis], size[axis]);
        Taps::new(to, |i| {
            let window = i * from / to..((i + 1) * from).div_ceil(to);
            let share = 1.0 / window.len() as f64;
            window.map(move |j| (j, share))
        })
    };
    resample(x, taps(0), taps(1))
}

/// `[batch, channels, height, width]` with a map applied to columns and one to rows.
pub(super) fn resample(x: &Tensor, down: Taps, across: Taps) -> Tensor {
    let shape = x.shape();
    let planes = shape[0] * shape[1];
    let out = [shape[0], shape[1], down.ends.len(), across.ends.len()];
    let input = x.detach().contiguous().reshape([planes, shape[2], shape[3]]);
    let y = apply(&input, &down, &across).reshape(out);
    y.record(&[x], move |grad, sink| {
        let grad = grad.contiguous().reshape([planes, out[2], out[3]]);
        let (down, across) = (down.transposed(shape[2]), across.transposed(shape[3]));
        sink.add(0, || apply(&grad, &down, &across).reshape(shape));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "avg_pool2d",
    samples: |draw| {
        let x = [2, 2, draw.size(5, 8), draw.size(5, 9)];
        let kernel = [draw.size(2, 4), draw.size(2, 3)];
        let options = Pool2dOptions {
            stride: [draw.size(1, 3), draw.size(1, 2)],
            padding: kernel.map(|k| draw.size(0, k / 2)),
            ceil_mode: draw.size(0, 1) == 1,
            count_include_pad: draw.size(0, 1) == 1,
            ..Pool2dOptions::new(kernel)
        };
        let size = [draw.size(1, 9), draw.size(1, 6)];
        vec![
            Sample::new("windows", vec![draw.normal(x)], move |x| avg_pool2d(&x[0], &options)),
            Sample::new("adaptive", vec![draw.normal(x)], move |x| {
                adaptive_avg_pool2d(&x[0], size)
            }),
        ]
    },
};
