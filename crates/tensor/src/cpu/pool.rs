//! The largest element of each window of an image.

use std::ops::Range;

use super::parallel::{Shared, for_pieces};
use crate::dtype::{DType, Element, Float};
use crate::kernels::args::Windows;
use crate::profile::timed;
use crate::real::{Kernel, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements of the output that are worth a task.
const TASK: usize = 1 << 12;

/// Where the largest elements are.
#[derive(Debug)]
pub(crate) enum Largest {
    /// Each window's place in its plane.
    At(Tensor),
    /// To be looked for again in the input, whose windows of two by two pixels lie side by side: that takes less
    /// time than to write places and to read them.
    Of(Tensor),
}

/// The largest element of each window of `[planes, height, width]`, contiguous, and where it is: the first of equal
/// ones, and NaN before all.
pub(crate) fn max(windows: &Windows, x: &Tensor) -> (Tensor, Largest) {
    let _timer = timed("max pool", 0.0, (x.count() * x.dtype().size()) as f64);
    let (planes, [height, width]) = (x.size(0), windows.out);
    let mut out = Tensor::uninit([planes, height, width].into(), x.dtype());
    if halves(windows) {
        with_float!(x.dtype(), "max pool", T => {
            let to = Shared::new(out.slice_mut::<T>());
            each_plane(windows, planes, |pixels, places| {
                let x = &x.slice::<T>()[pixels];
                // SAFETY: planes are disjoint.
                dispatch(Halve { windows, x, to: unsafe { to.slice(places) } });
            });
        });
        return (out, Largest::Of(x.clone()));
    }
    let mut places = Tensor::uninit(out.shape(), DType::I64);
    with_float!(x.dtype(), "max pool", T => {
        let (to, at) = (Shared::new(out.slice_mut::<T>()), Shared::new(places.slice_mut::<i64>()));
        each_plane(windows, planes, |pixels, part| {
            let x = &x.slice::<T>()[pixels];
            // SAFETY: planes are disjoint.
            unsafe { largest(windows, x, to.slice(part.clone()), at.slice(part)) }
        });
    });
    (out, Largest::At(places))
}

/// Calls `each` with the elements of each plane of the input, and of the output, in parallel.
fn each_plane(
    windows: &Windows,
    planes: usize,
    each: impl Fn(Range<usize>, Range<usize>) + Send + Sync,
) {
    let [pixels, count] = [windows.size, windows.out].map(|[height, width]| height * width);
    for_pieces(planes, (TASK / count).max(1), |range| {
        for plane in range {
            each(plane * pixels..(plane + 1) * pixels, plane * count..(plane + 1) * count);
        }
    });
}

/// Whether windows are two by two pixels, side by side, inside the image.
fn halves(windows: &Windows) -> bool {
    let Windows { size, kernel, out, stride, padding, dilation } = *windows;
    let inside = (0..2).all(|axis| 2 * out[axis] <= size[axis]);
    kernel == [2, 2] && stride == [2, 2] && padding == [0, 0] && dilation == [1, 1] && inside
}

/// Whether `found` comes before the largest so far.
#[expect(clippy::eq_op, reason = "what is not itself is not a number")]
#[expect(clippy::needless_bitwise_bool, reason = "without branches this is done by registers")]
#[inline(always)]
fn is_larger<T: Float>(found: T, largest: T) -> bool {
    (found > largest) | ((found != found) & (largest == largest))
}

/// [`max`] of a plane that is halved.
struct Halve<'a, T> {
    windows: &'a Windows,
    x: &'a [T],
    to: &'a mut [T],
}

impl<T: Stored> Kernel for Halve<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let ([_, width], [_, out]) = (self.windows.size, self.windows.out);
        for (rows, to) in self.x.chunks(2 * width).zip(self.to.chunks_mut(out)) {
            let (upper, lower) = rows.split_at(width);
            let (upper, lower) = (upper.as_chunks::<2>().0, lower.as_chunks::<2>().0);
            for ((upper, lower), to) in upper.iter().zip(lower).zip(to) {
                let mut largest = upper[0];
                for found in [upper[1], lower[0], lower[1]] {
                    largest = if is_larger(found, largest) { found } else { largest };
                }
                *to = largest;
            }
        }
    }
}

/// The gradients of a row of windows for one of their two rows of the image, which is chosen by whether the largest element is
/// in the lower one. Loops of one row each have no branches and are done by registers.
#[expect(clippy::needless_bitwise_bool, reason = "without branches this is done by registers")]
#[inline(always)]
fn doubled<T: Float>(
    upper: &[T],
    lower: &[T],
    grad: &[T],
    to: &mut [T],
    chosen: impl Fn(bool) -> bool,
) {
    let zero = T::from_f64(0.0);
    let rows = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
    for (((upper, lower), grad), to) in rows.zip(grad).zip(to.as_chunks_mut::<2>().0) {
        let [up, low] = [upper, lower].map(|row| is_larger(row[1], row[0]));
        let largest = |row: &[T; 2], second: bool| if second { row[1] } else { row[0] };
        let below = is_larger(largest(lower, low), largest(upper, up));
        let second = (below & low) | (!below & up);
        let kept = if chosen(below) { *grad } else { zero };
        *to = [if second { zero } else { kept }, if second { kept } else { zero }];
    }
}

/// The gradient of [`Halve`].
struct Double<'a, T> {
    windows: &'a Windows,
    x: &'a [T],
    grad: &'a [T],
    to: &'a mut [T],
}

impl<T: Stored> Kernel for Double<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let ([_, width], [rows, out]) = (self.windows.size, self.windows.out);
        let zero = T::from_f64(0.0);
        let (whole, rest) = self.to.split_at_mut(2 * rows * width);
        let pairs = self.x.chunks(2 * width).zip(whole.chunks_mut(2 * width));
        for ((x, to), grad) in pairs.zip(self.grad.chunks(out)) {
            let (upper, lower) = x.split_at(width);
            let (to_upper, to_lower) = to.split_at_mut(width);
            // An odd column is in no window.
            to_upper[2 * out..].fill(zero);
            to_lower[2 * out..].fill(zero);
            doubled(upper, lower, grad, to_upper, |below| !below);
            doubled(upper, lower, grad, to_lower, |below| below);
        }
        rest.fill(zero);
    }
}

fn largest<T: Stored>(windows: &Windows, x: &[T], to: &mut [T], at: &mut [i64]) {
    let width = windows.size[1];
    // Taps that are inside the image.
    let taps = |axis: usize, out: usize| {
        let (dilation, first) = (windows.dilation[axis], out * windows.stride[axis]);
        let padding = windows.padding[axis];
        let from = padding.saturating_sub(first).div_ceil(dilation);
        let room = (windows.size[axis] + padding).saturating_sub(first);
        let to = windows.kernel[axis].min(room.div_ceil(dilation)).max(from);
        let start = (first + from * dilation).saturating_sub(padding);
        (start, to - from, dilation)
    };
    let columns: Vec<_> = (0..windows.out[1]).map(|x| taps(1, x)).collect();
    let mut places = to.iter_mut().zip(at);
    for row in 0..windows.out[0] {
        let (y, rows, down) = taps(0, row);
        for (&(start, across, right), (to, at)) in columns.iter().zip(&mut places) {
            let mut best = y * width + start;
            for r in 0..rows {
                for c in 0..across {
                    let place = (y + r * down) * width + start + c * right;
                    if is_larger(x[place], x[best]) {
                        best = place;
                    }
                }
            }
            (*to, *at) = (x[best], best as i64);
        }
    }
}

/// The gradient of the input of [`max`]: each gradient of the output at its place.
pub(crate) fn spread(windows: &Windows, grad: &Tensor, largest: &Largest) -> Tensor {
    let _timer = timed("max pool", 0.0, (2 * grad.count() * grad.dtype().size()) as f64);
    let (planes, [height, width]) = (grad.size(0), windows.size);
    let mut dx = Tensor::uninit([planes, height, width].into(), grad.dtype());
    with_float!(grad.dtype(), "max pool", T => {
        let (grad, to) = (grad.slice::<T>(), Shared::new(dx.slice_mut::<T>()));
        each_plane(windows, planes, |pixels, part| {
            // SAFETY: planes are disjoint.
            let to = unsafe { to.slice(pixels.clone()) };
            match largest {
                Largest::Of(x) => {
                    let x = &x.slice::<T>()[pixels];
                    dispatch(Double { windows, x, grad: &grad[part], to });
                }
                Largest::At(places) => {
                    to.fill(T::from_f64(0.0));
                    for (grad, at) in grad[part.clone()].iter().zip(&places.slice::<i64>()[part]) {
                        let to = &mut to[*at as usize];
                        *to = T::from_f64(to.to_f64() + grad.to_f64());
                    }
                }
            }
        });
    });
    dx
}
