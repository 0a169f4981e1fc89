//! Rows of parameters that have a gradient.

use std::ops::Range;

use rappel_tensor::{Run, Runs, STATE_BLOCK, StateKind, Trained, nonzero_rows};

use crate::group::Member;
use crate::stepper::Views;

/// The rows of some parameters whose gradient is not all zero.
pub(crate) struct Touched {
    /// What a walk must meet. State in blocks shares its scale, so a run then covers whole blocks.
    pub runs: Runs,
    /// Positions of the rows themselves among the parameters, in order, neighbours together.
    rows: Vec<Range<usize>>,
}

impl Touched {
    pub fn find<P: Trained>(views: &Views<'_, P>, members: &[Member], picked: &[usize]) -> Self {
        let blocks = views.state.iter().any(|slot| matches!(slot.kind(), StateKind::Block8 { .. }));
        let grain = if blocks { STATE_BLOCK } else { 1 };
        let (mut runs, mut all): (Vec<Run>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
        for Member { run, shape, .. } in picked.iter().map(|k| &members[*k]) {
            let width = run.len / shape.first().copied().unwrap_or(1).max(1);
            let mut end = 0;
            for rows in nonzero_rows(&views.grads[run.param..run.param + run.len], width) {
                let (from, to) = (rows.start * width, rows.end * width);
                all.push(run.param + from..run.param + to);
                // From the member's start, where blocks begin; what the run before covers is met there.
                let from = (from - from % grain).max(end);
                end = to.next_multiple_of(grain).min(run.len);
                if from < end {
                    let (param, state) = (run.param + from, run.state + from);
                    runs.push(Run { param, state, len: end - from });
                }
            }
        }
        Self { runs: Runs::new(runs), rows: all }
    }

    /// The parts of a run that are rows, as positions within it.
    pub fn within(&self, run: Run) -> impl Iterator<Item = Range<usize>> {
        let end = run.param + run.len;
        let first = self.rows.partition_point(|rows| rows.end <= run.param);
        let rows = self.rows[first..].iter().take_while(move |rows| rows.start < end);
        rows.map(move |r| r.start.max(run.param) - run.param..r.end.min(end) - run.param)
    }
}
