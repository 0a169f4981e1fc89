//! Rotations of pairs of channels.

use super::parallel::{Shared, for_pieces};
use crate::profile::timed;
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;

/// Elements in one task.
const PIECE: usize = 1 << 14;

/// Turns each pair `(i, i + turned / 2)` of `x [batch, time, heads, dim]`, whose last dimension lies
/// in order, by the angles of its time; `back` applies the transposed map, which is the gradient's.
///
/// `cos` and `sin` are contiguous `[angles, time, turned]`, with one batch of angles for each of `x`
/// or one for all; channels from `turned` on stay as they are.
pub(crate) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, back: bool) -> Tensor {
    let [batch, time, heads, dim] = [0, 1, 2, 3].map(|d| x.size(d));
    let turned = cos.size(2);
    let own = if cos.size(0) == batch { time * turned } else { 0 };
    let strides = x.layout.strides;
    let mut out = Tensor::uninit(x.shape(), x.dtype());
    let _timer = timed("rotary", 0.0, (2 * x.count() * x.dtype().size()) as f64);
    with_float!(x.dtype(), "rotary", T => {
        let from = Shared::from_ptr(x.ptr::<T>().cast_mut());
        let to = Shared::new(out.slice_mut::<T>());
        let (cos, sin) = (cos.slice::<T>(), sin.slice::<T>());
        for_pieces(batch * time, (PIECE / (heads * dim).max(1)).max(1), |range| {
            for place in range {
                let (b, t) = (place / time, place % time);
                let angles = b * own + t * turned;
                let (cos, sin) = (&cos[angles..][..turned], &sin[angles..][..turned]);
                for h in 0..heads {
                    // SAFETY: the row lies within the input's layout; each task writes its own rows.
                    unsafe {
                        let at = b * strides[0] + t * strides[1] + h * strides[2];
                        let row = from.at(at).cast_const();
                        let to = to.at((place * heads + h) * dim);
                        dispatch(Turn { row, cos, sin, to, back });
                        to.add(turned).copy_from_nonoverlapping(row.add(turned), dim - turned);
                    }
                }
            }
        });
    });
    out
}

struct Turn<'a, T> {
    row: *const T,
    cos: &'a [T],
    sin: &'a [T],
    to: *mut T,
    back: bool,
}

impl<T: Stored> Kernel for Turn<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let half = self.cos.len() / 2;
        let (cos, sin) = (self.cos.as_ptr(), self.sin.as_ptr());
        let mut i = 0;
        while i < half {
            let n = lanes.min(half - i);
            let whole = n == lanes;
            // SAFETY: `i + n` is at most half of each row.
            unsafe {
                let load = |row: *const T| {
                    if whole { T::load::<S>(row) } else { T::load_partial::<S>(row, n) }
                };
                let (a, b) = (load(self.row.add(i)), load(self.row.add(half + i)));
                let (cos_a, cos_b) = (load(cos.add(i)), load(cos.add(half + i)));
                let (sin_a, sin_b) = (load(sin.add(i)), load(sin.add(half + i)));
                let (y, z) = if self.back {
                    (b.mul_add(sin_b, a * cos_a), (-a).mul_add(sin_a, b * cos_b))
                } else {
                    ((-b).mul_add(sin_a, a * cos_a), a.mul_add(sin_b, b * cos_b))
                };
                let (to_y, to_z) = (self.to.add(i), self.to.add(half + i));
                if whole {
                    T::store::<S>(y, to_y);
                    T::store::<S>(z, to_z);
                } else {
                    T::store_partial::<S>(y, to_y, n);
                    T::store_partial::<S>(z, to_z, n);
                }
            }
            i += n;
        }
    }
}
