//! Which elements a walk meets.

use std::ops::Range;

/// A stretch of elements that is updated alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first element's position in the arenas of parameters and gradients.
    pub param: usize,
    /// The first element's position in the arenas of state.
    pub state: usize,
    /// How many elements.
    pub len: usize,
}

/// Stretches of elements that do not overlap, in their order in memory.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    runs: Vec<Run>,
    /// Elements before each run.
    before: Vec<usize>,
    total: usize,
}

impl Runs {
    /// Checks that the runs lie in order and apart, in both kinds of arena.
    ///
    /// # Panics
    /// Where they do not: tasks on several threads write them at the same time.
    pub fn new(runs: Vec<Run>) -> Self {
        for pair in runs.windows(2) {
            let apart = pair[0].param + pair[0].len <= pair[1].param
                && pair[0].state + pair[0].len <= pair[1].state;
            assert!(apart, "update: runs {:?} and {:?} overlap", pair[0], pair[1]);
        }
        let mut total = 0;
        let mut before = Vec::with_capacity(runs.len());
        for run in &runs {
            before.push(total);
            total += run.len;
        }
        Self { runs, before, total }
    }

    /// How many elements there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The runs in order.
    pub fn as_slice(&self) -> &[Run] {
        &self.runs
    }

    /// The parts of runs at these positions, counted over all runs, each with the number of its run.
    /// Within a run, parts begin at multiples of `grain` from its start; parts of adjoining ranges adjoin.
    pub(super) fn within(
        &self,
        range: Range<usize>,
        grain: usize,
    ) -> impl Iterator<Item = (usize, Run)> {
        let first = self.before.partition_point(|before| *before <= range.start).max(1) - 1;
        let runs = (first..).zip(self.runs[first..].iter().zip(&self.before[first..]));
        let runs = runs.take_while(move |(_, (_, before))| **before < range.end);
        runs.map(move |(number, (run, before))| {
            let cut = |at: usize| if at >= run.len { run.len } else { at - at % grain };
            let skip = cut(range.start.saturating_sub(*before));
            let len = cut(range.end - before) - skip;
            (number, Run { param: run.param + skip, state: run.state + skip, len })
        })
    }

    /// The ends of the last run in both kinds of arena.
    pub(super) fn ends(&self) -> (usize, usize) {
        self.runs.last().map_or((0, 0), |last| (last.param + last.len, last.state + last.len))
    }
}
