//! Slow weights that the parameters return to.

use rappel_tensor::{Key, Memory, Real, Runs, Update, update};

use super::options::Lookahead;
use crate::kernels::Slot;

/// The slot of slow weights.
pub(crate) const SLOW: Slot = Slot::exact("slow_param");

/// Before the first step: the slow weights are the parameters.
pub(crate) fn begin(memory: &mut Memory<'_>, runs: &Runs) {
    update(runs, memory, None, &Begin);
}

/// Every `k` steps: the slow weights go towards the parameters, and these go there.
pub(crate) fn pull(
    lookahead: Lookahead,
    memory: &mut Memory<'_>,
    runs: &Runs,
    rounding: Option<Key>,
) {
    update(runs, memory, rounding, &Pull(lookahead.alpha));
}

struct Begin;

impl Update<1> for Begin {
    const WRITES_PARAMS: bool = false;

    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        #[inline(always)]
        |p, _, _| (p, [p])
    }
}

/// `slow <- slow + alpha (p - slow)`, `p <- slow`; with all of it `slow` is `p` to the bit.
struct Pull(f64);

impl Update<1> for Pull {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let (alpha, all) = (R::of(self.0), self.0 == 1.0);
        #[inline(always)]
        move |p, _, [slow]| {
            let slow = if all { p } else { alpha.mul_add(p - slow, slow) };
            (slow, [slow])
        }
    }
}
