//! Formulas with two results from one walk.

use super::parallel::{Shared, for_pieces};
use crate::kernels::args::Pair;
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements in one task.
const PIECE: usize = 1 << 14;

/// Both values at every place of operands of one shape and type.
pub(crate) fn map_pair<const N: usize, F: Pair<N>>(
    name: &'static str,
    operands: [&Tensor; N],
    formula: F,
) -> [Tensor; 2] {
    #[cfg(test)]
    crate::real::traced_tests::met_pair(formula);
    let operands = operands.map(|operand| operand.detach().contiguous());
    let (shape, dtype) = (operands[0].shape(), operands[0].dtype());
    assert!(operands.iter().all(|x| x.shape() == shape && x.dtype() == dtype), "{name}: operands");
    let bytes = (N + 2) * shape.count() * dtype.size();
    let _timer = timed(name, 0.0, bytes as f64);
    let mut out = [Tensor::uninit(shape, dtype), Tensor::uninit(shape, dtype)];
    with_float!(dtype, name, T => {
        let from: [&[T]; N] = std::array::from_fn(|k| operands[k].slice::<T>());
        let [a, b] = &mut out;
        let to = [Shared::new(a.slice_mut::<T>()), Shared::new(b.slice_mut::<T>())];
        for_pieces(shape.count(), PIECE, |range| {
            let from = from.map(|x| &x[range.clone()]);
            // SAFETY: pieces are disjoint.
            let to = unsafe { [to[0].slice(range.clone()), to[1].slice(range.clone())] };
            dispatch(Both { from, to, formula });
        });
    });
    out
}

struct Both<'a, T, const N: usize, F> {
    from: [&'a [T]; N],
    to: [&'a mut [T]; 2],
    formula: F,
}

impl<T: Stored, const N: usize, F: Pair<N>> Kernel for Both<'_, T, N, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let len = self.to[0].len();
        let [a, b] = self.to.map(<[T]>::as_mut_ptr);
        let from = self.from.map(<[T]>::as_ptr);
        let mut i = 0;
        // SAFETY: operands and results have `len` elements.
        unsafe {
            while i < len {
                let n = lanes.min(len - i);
                let whole = n == lanes;
                let x = std::array::from_fn(|k| {
                    let from = from[k].add(i);
                    if whole { T::load::<S>(from) } else { T::load_partial::<S>(from, n) }
                });
                let [y, z] = self.formula.eval(x);
                if whole {
                    T::store::<S>(y, a.add(i));
                    T::store::<S>(z, b.add(i));
                } else {
                    T::store_partial::<S>(y, a.add(i), n);
                    T::store_partial::<S>(z, b.add(i), n);
                }
                i += n;
            }
        }
    }
}
