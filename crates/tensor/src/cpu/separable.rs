//! Linear maps of images that are a map of their columns and a map of their rows: averages of windows,
//! other sizes.

use super::parallel::{Shared, for_pieces};
use super::scratch::{Scratch, padded};
use crate::kernels::args::Taps;
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements that are worth a task.
const TASK: usize = 1 << 13;

/// `[planes, height, width]`, contiguous, with `down` applied to every column, then `across` to every row.
pub(crate) fn apply(x: &Tensor, down: &Taps, across: &Taps) -> Tensor {
    let (planes, height, width) = (x.size(0), x.size(1), x.size(2));
    let (rows, columns) = (down.ends.len(), across.ends.len());
    let mut out = Tensor::uninit([planes, rows, columns].into(), x.dtype());
    let _timer = timed("resample", 0.0, ((x.count() + out.count()) * x.dtype().size()) as f64);
    with_float!(x.dtype(), "resample", T => {
        let (x, to) = (x.slice::<T>(), Shared::new(out.slice_mut::<T>()));
        let piece = TASK / (height * width + rows * columns);
        for_pieces(planes, piece.max(1), |range| {
            let lanes = padded::<f64>(width);
            let mut scratch = Scratch::take(lanes);
            let row = scratch.part::<f64>(width);
            for plane in range {
                // SAFETY: planes are disjoint, and the row is this task's.
                let (to, row) = unsafe {
                    let to = to.slice(plane * rows * columns..(plane + 1) * rows * columns);
                    (to, std::slice::from_raw_parts_mut(row, width))
                };
                let x = &x[plane * height * width..(plane + 1) * height * width];
                dispatch(Plane { x, to, row, down, across });
            }
        });
    });
    out
}

struct Plane<'a, T> {
    x: &'a [T],
    to: &'a mut [T],
    /// A row of the image with the columns' map applied, in the type of the sums.
    row: &'a mut [f64],
    down: &'a Taps,
    across: &'a Taps,
}

impl<T: Stored> Kernel for Plane<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = self.row.len();
        let lanes = T::Wide::<S>::LANES;
        let row: *mut <T::Wide<S> as Lanes>::Scalar = self.row.as_mut_ptr().cast();
        for (r, to) in self.to.chunks_exact_mut(self.across.ends.len()).enumerate() {
            // SAFETY: the row holds `width` numbers of eight bytes, no fewer than the lanes' scalars
            // have, and taps are within the image.
            unsafe {
                for i in (0..width).step_by(lanes) {
                    let n = lanes.min(width - i);
                    let mut sum = T::Wide::<S>::of(0.0);
                    for (y, weight) in self.down.of(r) {
                        let from = self.x.as_ptr().add(y * width + i);
                        let weight = T::Wide::<S>::of(weight);
                        let x = if n == lanes {
                            T::load::<S>(from)
                        } else {
                            T::load_partial::<S>(from, n)
                        };
                        sum = x.mul_add(weight, sum);
                    }
                    if n == lanes {
                        sum.store(row.add(i));
                    } else {
                        sum.store_partial(row.add(i), n);
                    }
                }
                for (c, to) in to.iter_mut().enumerate() {
                    let taps = self.across.of(c);
                    let sum = taps.map(|(x, weight)| Into::<f64>::into(*row.add(x)) * weight).sum();
                    *to = T::from_f64(sum);
                }
            }
        }
    }
}
