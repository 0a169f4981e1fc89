//! The sum of squares.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;
use rappel_tensor::{Tensor, no_grad};

use super::{ActsOn, Entry, Patterns, Technique, penalty};
use crate::{Penalty, Weights};

pub(super) const ENTRY: Entry = Entry {
    name: "l2",
    summary: "loss + lambda * sum of w^2: keeps weights small (ridge)",
    reference: "Hoerl and Kennard, 1970, https://doi.org/10.1080/00401706.1970.10488634",
    fields: L2Options::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, horizon| {
            let own = L2Options::read_over(options, Some(horizon))?;
            Ok(penalty(L2, own.lambda, own.proximal))
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct L2Options {
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
The ridge penalty `lambda sum_i w_i^2`, added to the loss; its gradient is `2 lambda w`, so that under
plain SGD it is a `weight_decay` of `2 lambda`. Decay that an adaptive rule does not rescale is the
optimizer's: AdamW's `weight_decay`, or `decoupled_decay` with any rule.

With `proximal = true` nothing is added to the loss. After each step of learning rate `lr`,
`w <- w / (1 + 2 lr lambda)`.";

/// `w^2`, summed.
#[derive(Debug, Clone, Copy, Default)]
pub struct L2;

impl Penalty for L2 {
    fn size(&self, weight: &Tensor) -> Tensor {
        weight.square().sum()
    }

    fn proximal(&self, weight: &Tensor, t: f64) -> Option<Tensor> {
        Some(no_grad(|| weight / 2.0_f64.mul_add(t, 1.0)))
    }
}

/// `lambda` times the sum of squares of the weights, a scalar to add to the loss. The gradient is
/// `2 lambda w`, so that this is SGD's `weight_decay = 2 lambda`. Weights are what [`Weights`] says:
/// without biases and the gains of norms.
///
/// ```
/// use rappel_regularize::l2;
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// let w = params.scope("net").add("weight", [2, 3], Init::Constant(2.0));
/// params.scope("net").add("bias", [3], Init::ONES);
/// let penalty = l2(&params, 0.5);
/// assert_eq!(penalty.item(), 12.0);
/// assert_eq!(penalty.backward().param(&w).unwrap().to_vec::<f32>(), [2.0; 6]);
/// ```
#[must_use]
pub fn l2(weights: impl Into<Weights>, lambda: f64) -> Tensor {
    L2.of(&weights.into(), lambda)
}
