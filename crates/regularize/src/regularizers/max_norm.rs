//! A bound on the length of rows or columns.

use rappel_registry::{Field, Range};
use rappel_schedule::{Schedule, scheduled};
use rappel_tensor::{Tensor, no_grad};

use super::{ActsOn, Entry, PARAMS, Regularizer, Technique};
use crate::penalty::matrix;
use crate::{Axis, Constraint};

pub(super) const ENTRY: Entry = Entry {
    name: "max_norm",
    summary: "after each step, rows or columns longer than max_norm are scaled back to it",
    reference: "Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html",
    fields: &[
        Field::new("max_norm", scheduled(Range::above(0.0)), "3.0", "the greatest length")
            .aka(&["maxnorm", "c", "lambda"]),
        Axis::FIELD,
        PARAMS,
    ],
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, horizon| {
            let constraint = Box::new(MaxNorm { axis: Axis::named(options.str("groups")) });
            let value = Schedule::from_option(options, "max_norm", horizon)?;
            Ok(Regularizer::Constraint { constraint, value })
        },
    },
};

const ABOUT: &str = "\
After each step `w_g <- w_g max_norm / (||w_g|| + 1e-7)` for each row, or column, `g` whose norm is greater
than `max_norm`: PyTorch's `torch.renorm`.";

/// What keeps PyTorch's factor from dividing by 0.
const EPS: f64 = 1e-7;

/// Groups no longer than a bound: PyTorch's `renorm` with `p = 2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaxNorm {
    /// What a group is.
    pub axis: Axis,
}

impl Constraint for MaxNorm {
    fn project(&self, weight: &Tensor, value: f64) -> Tensor {
        no_grad(|| {
            let norms = self.axis.norms(weight);
            let within = norms.le(value);
            let factors = ((norms + EPS).recip() * value).masked_fill(&within, 1.0);
            (matrix(weight) * factors).reshape(weight.shape())
        })
    }
}
