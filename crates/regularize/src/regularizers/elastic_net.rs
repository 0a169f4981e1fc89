//! Magnitudes and squares together.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;
use rappel_tensor::{Tensor, no_grad};

use super::{ActsOn, Entry, Patterns, Technique, penalty};
use crate::penalty::soft_threshold;
use crate::{Penalty, Weights};

pub(super) const ENTRY: Entry = Entry {
    name: "elastic_net",
    summary: "loss + lambda * (l1_ratio * sum of |w| + (1 - l1_ratio) / 2 * sum of w^2)",
    reference: "Zou and Hastie, 2005, https://doi.org/10.1111/j.1467-9868.2005.00503.x",
    fields: ElasticNetOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, horizon| {
            let own = ElasticNetOptions::read_over(options, Some(horizon))?;
            Ok(penalty(ElasticNet { l1_ratio: own.l1_ratio }, own.lambda, own.proximal))
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct ElasticNetOptions {
    /// factor of the penalty
    #[option(range = 0.0.., aka("alpha", "weight", "coefficient", "weight_decay"))]
    lambda: Schedule,
    /// the share of magnitudes; the rest is squares
    #[option(default = 0.5, range = 0.0..=1.0)]
    l1_ratio: f64,
    /// take a proximal step after each update instead of adding to the loss
    #[option(default = false)]
    proximal: bool,
    #[option(flatten)]
    on: Patterns,
}

const ABOUT: &str = "\
`lambda (r sum_i |w_i| + (1 - r) / 2 sum_i w_i^2)` with `r = l1_ratio`, added to the loss, as
scikit-learn's `ElasticNet` with `alpha = lambda`.

With `proximal = true` nothing is added to the loss. After each step of learning rate `lr`,
`w <- sign(w) max(|w| - lr lambda r, 0) / (1 + lr lambda (1 - r))`.";

/// `r |w| + (1 - r) / 2 w^2`, summed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElasticNet {
    /// The share of magnitudes, in `[0, 1]`; the rest is squares.
    pub l1_ratio: f64,
}

impl Penalty for ElasticNet {
    fn size(&self, weight: &Tensor) -> Tensor {
        weight.abs().sum() * self.l1_ratio + weight.square().sum() * ((1.0 - self.l1_ratio) / 2.0)
    }

    fn proximal(&self, weight: &Tensor, t: f64) -> Option<Tensor> {
        let shrunk = soft_threshold(weight, t * self.l1_ratio);
        Some(no_grad(|| shrunk / t.mul_add(1.0 - self.l1_ratio, 1.0)))
    }
}

/// `lambda (l1_ratio sum |w| + (1 - l1_ratio) / 2 sum w^2)` of the weights, a scalar to add to the
/// loss: scikit-learn's `ElasticNet`. Weights are what [`Weights`] says.
///
/// ```
/// use rappel_regularize::elastic_net;
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// params.scope("net").add("weight", [2, 1], Init::Constant(-2.0));
/// assert_eq!(elastic_net(&params, 0.1, 0.5).item() as f32, 0.1 * (0.5 * 4.0 + 0.25 * 8.0));
/// ```
#[must_use]
pub fn elastic_net(weights: impl Into<Weights>, lambda: f64, l1_ratio: f64) -> Tensor {
    ElasticNet { l1_ratio }.of(&weights.into(), lambda)
}
