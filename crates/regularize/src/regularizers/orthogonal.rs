//! Distance from matrices that turn without stretching.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;
use rappel_tensor::Tensor;

use super::{ActsOn, Entry, Patterns, Regularizer, Technique};
use crate::penalty::matrix;
use crate::{Penalty, Weights};

pub(super) const ENTRY: Entry = Entry {
    name: "orthogonal",
    summary: "loss + lambda * sum of ||W W^T - I||^2: rows of unit length at right angles",
    reference: "Bansal et al., 2018, https://arxiv.org/abs/1810.09102 (soft orthogonality)",
    fields: OrthogonalOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, horizon| {
            let own = OrthogonalOptions::read_over(options, Some(horizon))?;
            let lambda = own.lambda;
            Ok(Regularizer::Penalty { penalty: Box::new(Orthogonal), lambda, proximal: false })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct OrthogonalOptions {
    /// factor of the penalty
    #[option(range = 0.0.., aka("alpha", "weight", "coefficient", "weight_decay"))]
    lambda: Schedule,
    #[option(flatten)]
    on: Patterns,
}

const ABOUT: &str = "\
`lambda sum_W ||W W^T - I||_F^2`, added to the loss, where `W` has at most as many rows as columns; else
`lambda ||W^T W - I||_F^2`. The gradient is `4 lambda (W W^T - I) W`.

By default it is of every matrix, also of embeddings: `params` picks those that are meant.";

/// `||W W^T - I||_F^2`, of the smaller of the two products.
#[derive(Debug, Clone, Copy, Default)]
pub struct Orthogonal;

impl Penalty for Orthogonal {
    fn size(&self, weight: &Tensor) -> Tensor {
        let w = matrix(weight);
        let n = w.size(0).min(w.size(1));
        let gram = if w.size(0) == n { w.matmul(&w.t()) } else { w.t().matmul(&w) };
        let at = Tensor::arange(n, gram.dtype());
        let diagonal = at.unsqueeze(1).eq(&at.unsqueeze(0));
        let one = Tensor::zeros([n, n], gram.dtype()).masked_fill(&diagonal, 1.0);
        (gram - one).square().sum()
    }

    fn proximal(&self, _: &Tensor, _: f64) -> Option<Tensor> {
        None
    }
}

/// `lambda ||W W^T - I||_F^2` summed over the weights, a scalar to add to the loss; `W^T W` where `W`
/// has more rows than columns. Weights are what [`Weights`] says.
///
/// ```
/// use rappel_regularize::orthogonal;
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// params.scope("net").add("weight", [2, 4], Init::Constant(0.5));
/// // W W^T is all ones.
/// assert_eq!(orthogonal(&params, 3.0).item(), 6.0);
/// ```
#[must_use]
pub fn orthogonal(weights: impl Into<Weights>, lambda: f64) -> Tensor {
    Orthogonal.of(&weights.into(), lambda)
}
