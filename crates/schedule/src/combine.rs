//! What the combinators of [`Schedule`] build.

use std::fmt;

use crate::{Schedule, ScheduleFn};

#[derive(Debug)]
pub(crate) struct Then {
    pub first: Schedule,
    pub switch: u64,
    pub second: Schedule,
}

impl ScheduleFn for Then {
    fn at(&self, step: u64) -> f64 {
        match step.checked_sub(self.switch) {
            None => self.first.at(step),
            Some(since) => self.second.at(since),
        }
    }

    fn length(&self) -> Option<u64> {
        Some(self.switch.saturating_add(self.second.length()?))
    }
}

#[derive(Debug)]
pub(crate) struct Floor {
    pub curve: Schedule,
    pub floor: f64,
}

impl ScheduleFn for Floor {
    fn at(&self, step: u64) -> f64 {
        self.curve.at(step) * (1.0 - self.floor) + self.floor
    }

    fn length(&self) -> Option<u64> {
        self.curve.length()
    }
}

#[derive(Debug)]
pub(crate) struct Scaled {
    pub curve: Schedule,
    pub factor: f64,
}

impl ScheduleFn for Scaled {
    fn at(&self, step: u64) -> f64 {
        self.curve.at(step) * self.factor
    }

    fn length(&self) -> Option<u64> {
        self.curve.length()
    }
}

#[derive(Debug)]
pub(crate) struct Product {
    pub left: Schedule,
    pub right: Schedule,
}

impl ScheduleFn for Product {
    fn at(&self, step: u64) -> f64 {
        self.left.at(step) * self.right.at(step)
    }

    fn length(&self) -> Option<u64> {
        // `None` orders before every `Some`, so the longer of the finite lengths wins.
        self.left.length().max(self.right.length())
    }
}

pub(crate) struct Function<F> {
    pub length: Option<u64>,
    pub value: F,
}

impl<F: Fn(u64) -> f64 + Send + Sync> ScheduleFn for Function<F> {
    fn at(&self, step: u64) -> f64 {
        (self.value)(step)
    }

    fn length(&self) -> Option<u64> {
        self.length
    }
}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("length", &self.length).finish_non_exhaustive()
    }
}
