//! Whether a run learns anything, judged by its newest steps.

use std::collections::VecDeque;

use crate::checkpoint::Figure;

/// What is known of the newest steps of a run.
#[derive(Debug, Clone, Copy)]
pub struct Newest<'a> {
    /// Steps taken.
    pub step: u64,
    /// The newest training losses, oldest first; a hundred at least, once there are so many.
    pub losses: &'a VecDeque<f64>,
    /// The norm of the newest gradient; NaN where nobody knows.
    pub grad_norm: f64,
    figures: &'a [Figure],
}

/// What that says of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is odd.
    Fine,
    /// Something looks wrong: what, why that may be, and what to do.
    Doubt(String),
    /// Nothing can be learned so: why, and what to do.
    Hopeless(String),
}

impl<'a> Newest<'a> {
    pub(crate) fn new(
        step: u64,
        losses: &'a VecDeque<f64>,
        grad_norm: f64,
        figures: &'a [Figure],
    ) -> Self {
        Self { step, losses, grad_norm, figures }
    }

    /// The newest `count` values of a figure, the newest first; none where there are fewer.
    pub fn figure(&self, name: &str, count: usize) -> Option<Vec<f64>> {
        let figure = self.figures.iter().find(|figure| figure.name == name)?;
        let newest: Vec<f64> = figure.values.iter().rev().take(count).copied().collect();
        (newest.len() == count).then_some(newest)
    }
}
