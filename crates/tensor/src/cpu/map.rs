//! Elementwise formulas over broadcast, strided operands.

use super::parallel::{Shared, for_pieces};
use crate::kernels::args::Formula;
use crate::kernels::walk::{Walk, common};
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Simd, Stored, dispatch};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::with_float;

/// Elements in one task: long enough to pay for waking a thread.
const PIECE: usize = 1 << 15;

/// The formula at every place of the operands, broadcast together.
#[track_caller]
pub(crate) fn map<const N: usize, F: Formula<N>>(
    name: &'static str,
    operands: [&Tensor; N],
    formula: F,
) -> Tensor {
    #[cfg(test)]
    crate::real::traced_tests::met(formula);
    let (shape, dtype) = common(name, &operands);
    let moved: usize = operands.iter().map(|operand| operand.count()).sum();
    let bytes = (moved + shape.count()) * dtype.size();
    let _timer = timed(name, 0.0, bytes as f64);
    let mut out = Tensor::uninit(shape, dtype);
    with_float!(dtype, name, T => run::<T, N, F>(operands, shape, out.slice_mut(), formula));
    out
}

fn run<T: Stored, const N: usize, F: Formula<N>>(
    operands: [&Tensor; N],
    shape: Shape,
    out: &mut [T],
    formula: F,
) {
    let walk = Walk::new(operands.map(|operand| operand.layout.broadcast(shape)), shape);
    let from: [*const T; N] = operands.map(|operand| operand.buffer.as_ptr::<T>());
    let from = from.map(|p| Shared::from_ptr(p.cast_mut()));
    let out = Shared::new(out);
    // A task is a part of a long row, or several short rows.
    let inner = walk.inner;
    let parts = inner.div_ceil(PIECE).max(1);
    let per_task = (PIECE / inner.max(1)).max(1);
    for_pieces(walk.rows * parts, per_task, |range| {
        for unit in range {
            let (row, start) = (unit / parts, unit % parts * PIECE);
            let offsets = walk.offsets(row);
            let len = (inner - start).min(PIECE);
            // SAFETY: the walk stays within the operands' layouts, and the parts of the output
            // that the tasks write are disjoint.
            unsafe {
                let from = std::array::from_fn(|k| {
                    from[k].at(offsets[k] + start * walk.steps[k]).cast_const()
                });
                let to = out.at(row * inner + start);
                dispatch(Row { from, steps: walk.steps, to, len, formula });
            }
        }
    });
}

struct Row<T, const N: usize, F> {
    from: [*const T; N],
    steps: [usize; N],
    to: *mut T,
    len: usize,
    formula: F,
}

/// Elements brought together at a time where they don't lie side by side.
const GATHERED: usize = 64;

impl<T: Stored, const N: usize, F: Formula<N>> Kernel for Row<T, N, F> {
    type Output = ();
    /// Whole registers are read where they lie; widely spaced elements, and the last few, pass
    /// through buffers. Both take one loop, so that the formula is compiled once for each type and
    /// instruction set.
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let side_by_side = self.steps.iter().all(|&step| step <= 1);
        let zero = T::from_f64(0.0);
        let mut gathered = [[zero; GATHERED]; N];
        let mut results = [zero; GATHERED];
        let mut i = 0;
        while i < self.len {
            let left = self.len - i;
            let direct = side_by_side && left >= lanes;
            let n = if direct { left - left % lanes } else { left.min(GATHERED) };
            // SAFETY: whoever made the row vouches for `len` elements at each operand's spacing;
            // the buffers hold `GATHERED` elements, a multiple of every register's.
            unsafe {
                let mut from = [std::ptr::null(); N];
                let mut advance = [lanes; N];
                for k in 0..N {
                    let (at, step) = (self.from[k].add(i * self.steps[k]), self.steps[k]);
                    from[k] = if direct && step == 1 { at } else { gathered[k].as_ptr() };
                    if step == 0 {
                        gathered[k][..lanes].fill(at.read_unaligned());
                        advance[k] = 0;
                    } else if !direct {
                        (0..n).for_each(|j| gathered[k][j] = at.add(j * step).read_unaligned());
                    }
                }
                let to = if direct { self.to.add(i) } else { results.as_mut_ptr() };
                for j in (0..n).step_by(lanes) {
                    let x = std::array::from_fn(|k| T::load::<S>(from[k]));
                    T::store::<S>(self.formula.eval(x), to.add(j));
                    for k in 0..N {
                        from[k] = from[k].wrapping_add(advance[k]);
                    }
                }
                if !direct {
                    self.to.add(i).copy_from_nonoverlapping(to, n);
                }
            }
            i += n;
        }
    }
}
