//! Elements dropped at random, by a hash of their position.

use super::parallel::{Shared, for_pieces};
use crate::profile::timed;
use crate::random::{Key, hash};
use crate::real::{Kernel, Lanes, Real, Simd, Stored, dispatch};
use crate::tensor::Tensor;
use crate::with_float;
use rand_chacha::rand_core::Rng;

/// Elements whose draws share a seed of their own, from the key's generator; one task draws them.
const PIECE: usize = 1 << 14;
/// Elements whose mask is in registers or the first-level cache between drawing and using it.
const BLOCK: usize = 256;

/// `x / (1 - p)`, and zero with probability `p`: for a contiguous tensor.
pub(crate) fn dropout(x: &Tensor, p: f64, key: Key) -> Tensor {
    let _timer = timed("dropout", 0.0, (2 * x.count() * x.dtype().size()) as f64);
    let mut out = Tensor::uninit(x.shape(), x.dtype());
    let least = (p * (1_u64 << 32) as f64).round() as u64;
    let scale = 1.0 / (1.0 - p);
    with_float!(x.dtype(), "dropout", T => {
        let (from, to) = (x.slice::<T>(), Shared::new(out.slice_mut::<T>()));
        for_pieces(from.len(), PIECE, |range| {
            let mut seeds = key.with((range.start / PIECE) as u64).at(0);
            let seeds = [seeds.next_u32(), seeds.next_u32()];
            // SAFETY: pieces are disjoint.
            let to = unsafe { to.slice(range.clone()) };
            dispatch(Drop { from: &from[range], to, seeds, least, scale });
        });
    });
    out
}

struct Drop<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
    seeds: [u32; 2],
    /// Draws below are dropped.
    least: u64,
    scale: f64,
}

impl<T: Stored> Kernel for Drop<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let lanes = T::Wide::<S>::LANES;
        let scale = T::Wide::<S>::of(self.scale);
        let (zero, one) = (T::from_f64(0.0), T::from_f64(1.0));
        // A probability that rounds to one still leaves the last draw.
        let least = self.least.min(u32::MAX.into()) as u32;
        let mut kept = [zero; BLOCK];
        let blocks = self.from.chunks(BLOCK).zip(self.to.chunks_mut(BLOCK));
        for (block, (from, to)) in blocks.enumerate() {
            let first = (block * BLOCK) as u32;
            for (i, kept) in kept.iter_mut().enumerate() {
                let drawn = hash(first + i as u32, self.seeds);
                *kept = if drawn >= least { one } else { zero };
            }
            let (n, from, to) = (from.len(), from.as_ptr(), to.as_mut_ptr());
            let mut i = 0;
            // SAFETY: `from` and `to` hold `n` elements, `kept` at least as many.
            unsafe {
                while i + lanes <= n {
                    let mask = T::load::<S>(kept.as_ptr().add(i));
                    T::store::<S>(T::load::<S>(from.add(i)) * scale * mask, to.add(i));
                    i += lanes;
                }
                if i < n {
                    let mask = T::load_partial::<S>(kept.as_ptr().add(i), n - i);
                    let x = T::load_partial::<S>(from.add(i), n - i);
                    T::store_partial::<S>(x * scale * mask, to.add(i), n - i);
                }
            }
        }
    }
}
