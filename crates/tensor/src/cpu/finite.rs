//! Whether numbers are finite, at the speed of memory.

use std::sync::atomic::{AtomicBool, Ordering};

use half::bf16;

use super::parallel::for_pieces;
use crate::dtype::Float;
use crate::profile::timed;
use crate::tensor::Tensor;
use crate::with_float;

/// Elements that one task looks at.
const PIECE: usize = 1 << 16;
/// Elements between two looks at whether one was found.
const CHUNK: usize = 1 << 10;

/// A float whose bits say whether it is finite.
pub(crate) trait Bits: Float {
    /// Whether one of `x` is NaN or infinite: all bits of its exponent are set.
    fn any_non_finite(x: &[Self]) -> bool;
}

macro_rules! bits {
    ($($float:ty, $exponent:expr);* $(;)?) => {$(
        impl Bits for $float {
            #[inline]
            fn any_non_finite(x: &[Self]) -> bool {
                const EXPONENT: <$float as AsBits>::Bits = $exponent;
                // One more in the exponent's lowest place carries into the sign where all bits are
                // set. Without a branch, so that the compiler takes registers of any width.
                const LOWEST: <$float as AsBits>::Bits = EXPONENT & EXPONENT.wrapping_neg();
                let carries = x.iter().fold(0, |all, x| all | ((x.to_bits() & EXPONENT) + LOWEST));
                carries & !(<$float as AsBits>::Bits::MAX >> 1) != 0
            }
        }
    )*};
}

/// The unsigned integer of a float's width.
trait AsBits {
    type Bits;
}
impl AsBits for f32 {
    type Bits = u32;
}
impl AsBits for f64 {
    type Bits = u64;
}
impl AsBits for bf16 {
    type Bits = u16;
}

bits! {
    f32, 0x7f80_0000;
    f64, 0x7ff0_0000_0000_0000;
    bf16, 0x7f80;
}

/// Whether all are finite: one pass over memory, on all threads.
pub(crate) fn all_finite<T: Bits>(x: &[T]) -> bool {
    let _timer = timed("finite", 0.0, size_of_val(x) as f64);
    let found = AtomicBool::new(false);
    for_pieces(x.len(), PIECE, |range| {
        let found_here = || x[range].chunks(CHUNK).any(T::any_non_finite);
        if !found.load(Ordering::Relaxed) && found_here() {
            found.store(true, Ordering::Relaxed);
        }
    });
    !found.into_inner()
}

/// The place of the first element of a contiguous tensor that is not finite.
pub(crate) fn first_non_finite(x: &Tensor) -> Option<usize> {
    with_float!(x.dtype(), "first_non_finite", T => first(x.slice::<T>()))
}

fn first<T: Bits>(x: &[T]) -> Option<usize> {
    if all_finite(x) { None } else { x.iter().position(|x| !x.to_f64().is_finite()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds<T: Bits>(largest: f64) {
        let mut x = vec![T::from_f64(-0.0); 2 * PIECE + 77];
        x[1] = T::from_f64(largest);
        x[2] = T::from_f64(-largest);
        // The smallest number, below the normal ones.
        x[3] = T::from_f64(f64::from(f32::from_bits(1)));
        assert_eq!(first(&x), None);
        for bad in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for place in [0, 5, CHUNK, PIECE - 1, 2 * PIECE + 76] {
                let kept = std::mem::replace(&mut x[place], T::from_f64(bad));
                assert_eq!(first(&x), Some(place), "{bad} {}", T::DTYPE);
                x[place] = kept;
            }
        }
        assert_eq!(first::<T>(&[]), None);
    }

    #[test]
    fn the_first_is_found_wherever_it_is() {
        holds::<f32>(f64::from(f32::MAX));
        holds::<f64>(f64::MAX);
        holds::<bf16>(bf16::MAX.to_f64());
    }
}
