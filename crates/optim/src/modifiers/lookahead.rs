//! Slow weights that the parameters return to.

use rappel_tensor::{Piece, Runs, StateArena, Trained, walk};

use super::Lookahead;
use crate::averaging;
use crate::stepper::{Slot, Views};

/// The slot of slow weights.
pub(crate) const SLOW: Slot = Slot { name: "slow_param", signed: true, exact: true };

/// Before the first step: the slow weights are the parameters.
pub(crate) fn begin<P: Trained>(views: &mut Views<'_, P>, slow: &mut [StateArena], runs: &Runs) {
    walk(runs, views.params, views.grads, slow, None, &|piece: Piece<'_, '_, P::Acc>| {
        piece.state[0].copy_from_slice(piece.params);
    });
}

/// Every `k` steps: the slow weights go towards the parameters, and these go there.
pub(crate) fn pull<P: Trained>(
    lookahead: Lookahead,
    views: &mut Views<'_, P>,
    slow: &mut [StateArena],
    runs: &Runs,
    rounding: Option<rappel_tensor::Key>,
) {
    walk(runs, views.params, views.grads, slow, rounding, &|piece: Piece<'_, '_, P::Acc>| {
        let slow = &mut piece.state[0];
        averaging::pull(slow, piece.params, lookahead.alpha);
        piece.params.copy_from_slice(slow);
    });
}
