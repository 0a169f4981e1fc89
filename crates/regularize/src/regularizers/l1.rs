//! The sum of magnitudes.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;
use rappel_tensor::Tensor;

use super::{ActsOn, Entry, Patterns, Technique, penalty};
use crate::penalty::soft_threshold;
use crate::{Penalty, Weights};

pub(super) const ENTRY: Entry = Entry {
    name: "l1",
    summary: "loss + lambda * sum of |w|: drives weights to 0, exactly with `proximal`",
    reference: "Tibshirani, 1996, https://doi.org/10.1111/j.2517-6161.1996.tb02080.x",
    fields: L1Options::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, horizon| {
            let own = L1Options::read_over(options, Some(horizon))?;
            Ok(penalty(L1, own.lambda, own.proximal))
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct L1Options {
    /// factor of the penalty
    #[option(range = 0.0.., aka("alpha", "weight", "coefficient", "weight_decay"))]
    lambda: Schedule,
    /// take a proximal step after each update instead of adding to the loss
    #[option(default = false)]
    proximal: bool,
    #[option(flatten)]
    on: Patterns,
}

const ABOUT: &str = "\
The lasso's penalty `lambda sum_i |w_i|`, added to the loss; its gradient is `lambda sign(w)`, 0 at 0.

With `proximal = true` nothing is added to the loss. After each step of learning rate `lr`,
`w <- sign(w) max(|w| - lr lambda, 0)`: weights become exactly 0, and stay there (ISTA).";

/// `|w|`, summed.
#[derive(Debug, Clone, Copy, Default)]
pub struct L1;

impl Penalty for L1 {
    fn size(&self, weight: &Tensor) -> Tensor {
        weight.abs().sum()
    }

    fn proximal(&self, weight: &Tensor, t: f64) -> Option<Tensor> {
        Some(soft_threshold(weight, t))
    }
}

/// `lambda` times the sum of magnitudes of the weights, a scalar to add to the loss: it drives
/// weights to 0. The gradient is `lambda sign(w)`, 0 at 0. Weights are what [`Weights`] says.
///
/// Tibshirani, [Regression shrinkage and selection via the
/// lasso](https://doi.org/10.1111/j.2517-6161.1996.tb02080.x), 1996.
///
/// ```
/// use rappel_regularize::l1;
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// params.scope("net").add("weight", [2, 2], Init::Constant(-3.0));
/// assert_eq!(l1(&params, 0.5).item(), 6.0);
/// ```
#[must_use]
pub fn l1(weights: impl Into<Weights>, lambda: f64) -> Tensor {
    L1.of(&weights.into(), lambda)
}
