//! What a product reads and writes, by its type at run time: one copy of the code serves all.

use half::bf16;

use super::super::element::{Output, View};

/// An operand: single-precision numbers, to be rounded, or bfloat16.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    F32(View<f32>),
    Bf16(View<bf16>),
}

/// Runs `$body` with `$view` standing for the view, whatever its type.
macro_rules! with_view {
    ($source:expr, $view:ident => $body:expr) => {
        match $source {
            Source::F32($view) => $body,
            Source::Bf16($view) => $body,
        }
    };
}
pub(super) use with_view;

impl Source {
    /// The part from element (`row`, `col`) on.
    pub fn from(self, row: usize, col: usize) -> Self {
        match self {
            Source::F32(view) => Source::F32(View { ptr: view.at(row, col), ..view }),
            Source::Bf16(view) => Source::Bf16(View { ptr: view.at(row, col), ..view }),
        }
    }

    /// Whether a column's elements lie side by side, and a row's do not.
    pub fn rows_adjacent(self) -> bool {
        with_view!(self, view => view.rs == 1 && view.cs != 1)
    }
}

/// Where a product goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    F32(*mut f32),
    Bf16(*mut bf16),
}

impl Target {
    /// Writes, or adds, a row of sums from element `at` on, rounded once.
    ///
    /// # Safety
    /// Both ranges are valid, and the target is bfloat16.
    #[inline(always)]
    pub unsafe fn narrow(self, at: usize, sums: *const f32, count: usize, add: bool) {
        let Target::Bf16(start) = self else {
            unreachable!("sums in single precision lie in place")
        };
        for j in 0..count {
            // SAFETY: the caller's promise.
            unsafe {
                let (sum, to) = (*sums.add(j), start.add(at + j));
                *to = <bf16 as Output>::narrow(if add { sum + (*to).to_f32() } else { sum });
            }
        }
    }
}
