//! The largest element of each window of an image.

use super::parallel::{Shared, for_pieces};
use crate::dtype::{DType, Element};
use crate::kernels::args::Windows;
use crate::profile::timed;
use crate::real::Stored;
use crate::tensor::Tensor;
use crate::with_float;

/// Elements of the output that are worth a task.
const TASK: usize = 1 << 12;

/// The largest element of each window of `[planes, height, width]`, contiguous, and where it is in its
/// plane: the first of equal ones, and NaN before all.
pub(crate) fn max(windows: &Windows, x: &Tensor) -> (Tensor, Tensor) {
    let _timer = timed("max pool", 0.0, (x.count() * x.dtype().size()) as f64);
    let (planes, [height, width]) = (x.size(0), windows.out);
    let mut out = Tensor::uninit([planes, height, width].into(), x.dtype());
    let mut places = Tensor::uninit(out.shape(), DType::I64);
    let (pixels, count) = (windows.size[0] * windows.size[1], height * width);
    with_float!(x.dtype(), "max pool", T => {
        let (to, at) = (Shared::new(out.slice_mut::<T>()), Shared::new(places.slice_mut::<i64>()));
        for_pieces(planes, (TASK / count).max(1), |range| {
            for plane in range {
                let x = &x.slice::<T>()[plane * pixels..(plane + 1) * pixels];
                let part = plane * count..(plane + 1) * count;
                // SAFETY: planes are disjoint.
                unsafe { largest(windows, x, to.slice(part.clone()), at.slice(part)) }
            }
        });
    });
    (out, places)
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
                    let (found, largest) = (x[place].to_f64(), x[best].to_f64());
                    if found > largest || (found.is_nan() && !largest.is_nan()) {
                        best = place;
                    }
                }
            }
            (*to, *at) = (x[best], best as i64);
        }
    }
}

/// The gradient of the input of [`max`], of `size`: each gradient of the output at its place.
pub(crate) fn spread(grad: &Tensor, places: &Tensor, size: [usize; 2]) -> Tensor {
    let _timer = timed("max pool", 0.0, (2 * grad.count() * grad.dtype().size()) as f64);
    let (planes, count, pixels) = (grad.size(0), grad.size(1) * grad.size(2), size[0] * size[1]);
    let mut dx = Tensor::uninit([planes, size[0], size[1]].into(), grad.dtype());
    let places = places.slice::<i64>();
    with_float!(grad.dtype(), "max pool", T => {
        let (grad, to) = (grad.slice::<T>(), Shared::new(dx.slice_mut::<T>()));
        for_pieces(planes, (TASK / count).max(1), |range| {
            for plane in range {
                // SAFETY: planes are disjoint.
                let to = unsafe { to.slice(plane * pixels..(plane + 1) * pixels) };
                to.fill(T::from_f64(0.0));
                let part = plane * count..(plane + 1) * count;
                for (grad, at) in grad[part.clone()].iter().zip(&places[part]) {
                    let to = &mut to[*at as usize];
                    *to = T::from_f64(to.to_f64() + grad.to_f64());
                }
            }
        });
    });
    dx
}
