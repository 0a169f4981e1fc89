//! The types that parameters are stored as.

use half::bf16;

use super::state::{narrow, widen};
use super::wrap::{Wrap, Wrapping};
use crate::dtype::Element;
use crate::real::{Real, Stored};

/// A type that parameters are stored as. Steps are computed in `Acc`, the type of gradients.
pub trait Trained: Element {
    /// Single precision for bfloat16, else the type itself.
    type Acc: Stored + Real + Trained<Acc = Self::Acc>;
    /// The numbers themselves, where they are of the type that steps are computed in.
    fn direct(params: &mut [Self]) -> Option<&mut [Self::Acc]>;
    /// Reads parameters.
    fn load(from: &[Self], to: &mut [Self::Acc]);
    /// Writes parameters; with `seeds`, rounded to either neighbour at random.
    fn store(from: &[Self::Acc], to: &mut [Self], seeds: Option<[u32; 2]>, at: usize);
    /// Copies in single precision as numbers that steps are computed in.
    ///
    /// # Panics
    /// In double precision, whose state is never stored in less.
    fn acc(copies: &mut [f32]) -> &mut [Self::Acc];
    /// What stands around a rule, in the type that steps are computed in.
    fn wrap(wrapping: Wrapping<'_>) -> &dyn Wrap<Self::Acc>;
}

macro_rules! trained {
    ($t:ty, $acc:ty, $direct:expr, $load:expr, $store:expr, $acc_of:expr, $wrap:expr) => {
        impl Trained for $t {
            type Acc = $acc;
            fn direct(params: &mut [Self]) -> Option<&mut [$acc]> {
                $direct(params)
            }
            fn load(from: &[Self], to: &mut [$acc]) {
                $load(from, to);
            }
            fn store(from: &[$acc], to: &mut [Self], seeds: Option<[u32; 2]>, at: usize) {
                $store(from, to, seeds, at);
            }
            fn acc(copies: &mut [f32]) -> &mut [$acc] {
                $acc_of(copies)
            }
            fn wrap(wrapping: Wrapping<'_>) -> &dyn Wrap<$acc> {
                $wrap(wrapping)
            }
        }
    };
}

trained!(f32, f32, Some, copy, store_same, |copies| copies, Wrapping::single);
trained!(
    f64,
    f64,
    Some,
    copy,
    store_same,
    |_| panic!("state in less precision is for parameters in single precision or less"),
    Wrapping::double
);
trained!(bf16, f32, |_| None, widen, narrow, |copies| copies, Wrapping::single);

/// Numbers that are stored as steps are computed in.
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}

/// The same back; nothing is rounded.
fn store_same<T: Copy>(from: &[T], to: &mut [T], _: Option<[u32; 2]>, _: usize) {
    to.copy_from_slice(from);
}
