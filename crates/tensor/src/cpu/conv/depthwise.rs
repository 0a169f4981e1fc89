//! Convolutions in which every output channel reads one input channel.

use super::fill;
use super::plane::{Plane, registers};
use super::product::Number;
use crate::autograd::Target;
use crate::cpu::parallel::{Shared, for_pieces};
use crate::cpu::scratch::{Scratch, padded};
use crate::kernels::args::Convolution;
use crate::real::{Kernel, Lanes, MAX_LANES, Real, Simd, dispatch};
use crate::tensor::Tensor;

/// Rows of the output, or taps, whose sums are formed side by side, which hides the latency of addition.
const SIDE_BY_SIDE: usize = 4;
/// Multiplications that are worth a task.
const TASK: usize = 1 << 16;

/// What the channels of a task share: how they read the padded plane of an input channel.
struct Taps<'a, T> {
    conv: &'a Convolution,
    plane: Plane,
    /// Where each tap reads for the first place of the output.
    at: Vec<usize>,
    /// The plane's memory, with as many zeros after it as the largest register is long.
    padded: *mut T,
    _scratch: Scratch,
}

impl<'a, T: Number> Taps<'a, T> {
    fn new(conv: &'a Convolution) -> Self {
        let plane = Plane::new(conv, 0, conv.out[0]);
        let count = plane.count() + MAX_LANES;
        let mut scratch = Scratch::take(padded::<T>(count));
        let memory = scratch.part::<T>(count);
        // SAFETY: the part has room for both.
        unsafe { std::slice::from_raw_parts_mut(memory, count).fill(T::ZERO) };
        let width = conv.kernel[1];
        let at = (0..conv.taps()).map(|tap| plane.at(tap / width, tap % width)).collect();
        Self { conv, plane, at, padded: memory, _scratch: scratch }
    }
}

/// Output channels of each input channel.
fn multiplier(conv: &Convolution) -> usize {
    conv.outputs / conv.inputs
}

/// Channels of images that one task takes.
fn piece(conv: &Convolution) -> usize {
    (TASK / (conv.places() * conv.taps())).max(1)
}

/// A channel of `x` `[.., places]`.
fn channel<T>(x: &[T], index: usize, places: usize) -> &[T] {
    &x[index * places..(index + 1) * places]
}

pub(super) fn forward<T: Number>(
    conv: &Convolution,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    out: &mut Tensor,
) {
    let (x, w, places) = (x.slice::<T>(), w.slice::<T>(), conv.places());
    let to = Shared::new(out.slice_mut::<T>());
    for_pieces(conv.batch * conv.outputs, piece(conv), |range| {
        let taps = Taps::new(conv);
        for index in range {
            let (image, output) = (index / conv.outputs, index % conv.outputs);
            let input = image * conv.inputs + output / multiplier(conv);
            // SAFETY: each channel of the output is written by one task.
            let y = unsafe { to.slice(index * places..(index + 1) * places) };
            fill(y, bias, output);
            let (x, w) = (channel(x, input, conv.pixels()), channel(w, output, conv.taps()));
            dispatch(Forward { taps: &taps, x, w, y });
        }
    });
}

/// `y += x * w`.
struct Forward<'a, T> {
    taps: &'a Taps<'a, T>,
    x: &'a [T],
    w: &'a [T],
    y: &'a mut [T],
}

impl<T: Number> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let height = self.taps.conv.out[0];
        // SAFETY: the plane has room for the channel.
        unsafe { self.taps.plane.pack::<T, S>(self.x.as_ptr(), self.taps.padded) };
        let whole = height - height % SIDE_BY_SIDE;
        for row in (0..whole).step_by(SIDE_BY_SIDE) {
            self.rows::<S, SIDE_BY_SIDE>(row);
        }
        for row in whole..height {
            self.rows::<S, 1>(row);
        }
    }
}

impl<T: Number> Forward<'_, T> {
    /// Adds all taps to `R` rows of the output.
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&mut self, row: usize) {
        let (plane, width) = (&self.taps.plane, self.taps.conv.out[1]);
        let (padded, y) = (self.taps.padded, self.y.as_mut_ptr().wrapping_add(row * width));
        let step = plane.step();
        let sums = |i: usize, mut sums: [T::Wide<S>; R]| {
            for (w, at) in self.w.iter().zip(&self.taps.at) {
                let factor = T::Wide::<S>::of(w.to_f64());
                for (r, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: taps read within the plane, a last register into the zeros after it.
                    let x = unsafe { T::load::<S>(padded.add(at + (row + r) * step + i)) };
                    *sum = x.mul_add(factor, *sum);
                }
            }
            sums
        };
        // SAFETY: these rows of the output, whole registers or the parts that are left.
        unsafe {
            registers::<T, S>(
                width,
                |i| {
                    let old = std::array::from_fn(|r| T::load::<S>(y.add(r * width + i)));
                    for (r, sum) in sums(i, old).into_iter().enumerate() {
                        T::store::<S>(sum, y.add(r * width + i));
                    }
                },
                |i, n| {
                    let old =
                        std::array::from_fn(|r| T::load_partial::<S>(y.add(r * width + i), n));
                    for (r, sum) in sums(i, old).into_iter().enumerate() {
                        T::store_partial::<S>(sum, y.add(r * width + i), n);
                    }
                },
            );
        }
    }
}

pub(super) fn input_gradient<T: Number>(
    conv: &Convolution,
    grad: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    dx: &mut Tensor,
) {
    let (grad, w, pixels) = (grad.slice::<T>(), w.slice::<T>(), conv.pixels());
    let to = Shared::new(dx.slice_mut::<T>());
    for_pieces(conv.batch * conv.inputs, piece(conv), |range| {
        let taps = Taps::new(conv);
        for index in range {
            let (image, input) = (index / conv.inputs, index % conv.inputs);
            // SAFETY: each channel of the input is written by one task.
            let x = unsafe { to.slice(index * pixels..(index + 1) * pixels) };
            fill(x, bias, input);
            for output in input * multiplier(conv)..(input + 1) * multiplier(conv) {
                let grad = channel(grad, image * conv.outputs + output, conv.places());
                let w = channel(w, output, conv.taps());
                dispatch(InputGradient { taps: &taps, grad, w, x });
            }
        }
    });
}

/// `x += grad * w`, each place to all that it was computed from.
struct InputGradient<'a, T> {
    taps: &'a Taps<'a, T>,
    grad: &'a [T],
    w: &'a [T],
    x: &'a mut [T],
}

impl<T: Number> Kernel for InputGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Taps { conv, plane, padded, .. } = *self.taps;
        let width = conv.out[1];
        // SAFETY: the plane is this task's; taps lie within it.
        unsafe {
            std::slice::from_raw_parts_mut(padded, plane.count()).fill(T::ZERO);
            for (w, at) in self.w.iter().zip(&self.taps.at) {
                let factor = T::Wide::<S>::of(w.to_f64());
                for (r, grad) in self.grad.chunks_exact(width).enumerate() {
                    let (grad, to) = (grad.as_ptr(), padded.add(at + r * plane.step()));
                    registers::<T, S>(
                        width,
                        |i| {
                            let sum = T::load::<S>(to.add(i));
                            T::store::<S>(
                                T::load::<S>(grad.add(i)).mul_add(factor, sum),
                                to.add(i),
                            );
                        },
                        |i, n| {
                            let sum = T::load_partial::<S>(to.add(i), n);
                            let grad = T::load_partial::<S>(grad.add(i), n);
                            T::store_partial::<S>(grad.mul_add(factor, sum), to.add(i), n);
                        },
                    );
                }
            }
            plane.add_to::<T, S>(padded, self.x.as_mut_ptr());
        }
    }
}

pub(super) fn weight_gradient<T: Number>(
    conv: &Convolution,
    grad: &Tensor,
    x: &Tensor,
    target: &mut Target<'_>,
) {
    let (grad, x, accumulate) = (grad.slice::<T>(), x.slice::<T>(), target.accumulate);
    let to = Shared::new(target.slice::<T>());
    for_pieces(conv.outputs, 1, |range| {
        let (taps, output) = (Taps::new(conv), range.start);
        let mut sums = vec![0.0; conv.taps()];
        for image in 0..conv.batch {
            let grad = channel(grad, image * conv.outputs + output, conv.places());
            let input = image * conv.inputs + output / multiplier(conv);
            let x = channel(x, input, conv.pixels());
            dispatch(WeightGradient { taps: &taps, grad, x, sums: &mut sums });
        }
        // SAFETY: each output's weights are written by one task.
        let to = unsafe { to.slice(output * conv.taps()..(output + 1) * conv.taps()) };
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = T::from_f64(if accumulate { to.to_f64() + sum } else { sum });
        }
    });
}

/// `sums += grad . x`, a sum for each tap.
struct WeightGradient<'a, T> {
    taps: &'a Taps<'a, T>,
    grad: &'a [T],
    x: &'a [T],
    sums: &'a mut [f64],
}

impl<T: Number> Kernel for WeightGradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Taps { conv, plane, padded, .. } = *self.taps;
        let width = conv.out[1];
        // SAFETY: the plane is this task's; taps read within it, a last register into the zeros after
        // it, where the gradient's lanes are zero.
        unsafe {
            plane.pack::<T, S>(self.x.as_ptr(), padded);
            let groups = self.sums.chunks_mut(SIDE_BY_SIDE);
            for (sums, at) in groups.zip(self.taps.at.chunks(SIDE_BY_SIDE)) {
                let mut lanes = [T::Wide::<S>::of(0.0); SIDE_BY_SIDE];
                // A missing tap reads what the first does, for nothing.
                let at: [usize; SIDE_BY_SIDE] =
                    std::array::from_fn(|t| *at.get(t).unwrap_or(&at[0]));
                for (r, grad) in self.grad.chunks_exact(width).enumerate() {
                    let (grad, from) = (grad.as_ptr(), padded.add(r * plane.step()));
                    let mut add = |i: usize, grad: T::Wide<S>| {
                        for (sum, at) in lanes.iter_mut().zip(at) {
                            *sum = T::load::<S>(from.add(at + i)).mul_add(grad, *sum);
                        }
                    };
                    let whole = width - width % T::Wide::<S>::LANES;
                    for i in (0..whole).step_by(T::Wide::<S>::LANES) {
                        add(i, T::load::<S>(grad.add(i)));
                    }
                    if whole < width {
                        add(whole, T::load_partial::<S>(grad.add(whole), width - whole));
                    }
                }
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    *sum += lanes.reduce_sum().into();
                }
            }
        }
    }
}
