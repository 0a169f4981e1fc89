//! A bound on the length of rows or columns.

use rappel_config::{OptionSet, Options, Range};
use rappel_schedule::Schedule;
use rappel_tensor::{Tensor, no_grad};

use super::{ActsOn, Entry, Patterns, Regularizer, Technique};
use crate::penalty::matrix;
use crate::{Axis, Constraint};

pub(super) const ENTRY: Entry = Entry {
    name: "max_norm",
    summary: "after each step, rows or columns longer than max_norm are scaled back to it",
    reference: "Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html",
    fields: MaxNormOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, horizon| {
            let own = MaxNormOptions::read_over(options, Some(horizon))?;
            let constraint = Box::new(MaxNorm { axis: own.groups });
            let value = own.max_norm;
            Ok(Regularizer::Constraint { constraint, value })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct MaxNormOptions {
    /// the greatest length
    #[option(default = 3.0, range = Range::above(0.0), aka("maxnorm", "c", "lambda"))]
    max_norm: Schedule,
    /// what is taken together: weights into one output of a linear layer, or out of one input (the other
    /// way round in GPT-2, whose weights are transposed)
    #[option(default = Axis::Rows)]
    groups: Axis,
    #[option(flatten)]
    on: Patterns,
}

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
