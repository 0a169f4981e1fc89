//! Norms of rows or columns.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;
use rappel_tensor::{Tensor, no_grad};

use super::{ActsOn, Entry, Patterns, Technique, penalty};
use crate::penalty::matrix;
use crate::{Axis, Penalty, Weights};

pub(super) const ENTRY: Entry = Entry {
    name: "group_lasso",
    summary: "loss + lambda * sum over rows or columns of their norms: drives whole ones to 0",
    reference: "Yuan and Lin, 2006, https://doi.org/10.1111/j.1467-9868.2005.00532.x",
    fields: GroupLassoOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Weights,
        build: |options, horizon| {
            let own = GroupLassoOptions::read_over(options, Some(horizon))?;
            let axis = own.groups;
            let lasso = GroupLasso { axis, scale_by_size: own.scale_by_size };
            Ok(penalty(lasso, own.lambda, own.proximal))
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct GroupLassoOptions {
    /// factor of the penalty
    #[option(range = 0.0.., aka("alpha", "weight", "coefficient", "weight_decay"))]
    lambda: Schedule,
    /// what is taken together: weights into one output of a linear layer, or out of one input (the other
    /// way round in GPT-2, whose weights are transposed)
    #[option(default = Axis::Rows)]
    groups: Axis,
    /// weigh each norm by the square root of its group's size, as the paper
    #[option(default = true)]
    scale_by_size: bool,
    /// take a proximal step after each update instead of adding to the loss
    #[option(default = false)]
    proximal: bool,
    #[option(flatten)]
    on: Patterns,
}

const ABOUT: &str = "\
`lambda sum_g s_g ||w_g||`, added to the loss, over groups `g` that are rows or columns of each weight;
`s_g` is the square root of the group's size, or 1 without `scale_by_size`. The gradient of a group is
`lambda s_g w_g / ||w_g||`, 0 where the group is 0.

With `proximal = true` nothing is added to the loss. After each step of learning rate `lr`,
`w_g <- w_g max(1 - lr lambda s_g / ||w_g||, 0)`: whole groups become exactly 0, and stay there.

Without `scale_by_size`, over the columns of one weight, this is scikit-learn's `MultiTaskLasso`.";

/// Norms of groups, summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLasso {
    /// What a group is.
    pub axis: Axis,
    /// Whether each norm is weighed by the square root of its group's size.
    pub scale_by_size: bool,
}

impl Default for GroupLasso {
    fn default() -> Self {
        Self { axis: Axis::Rows, scale_by_size: true }
    }
}

impl GroupLasso {
    fn scale(self, weight: &Tensor) -> f64 {
        if self.scale_by_size { (self.axis.group_size(weight) as f64).sqrt() } else { 1.0 }
    }
}

impl Penalty for GroupLasso {
    fn size(&self, weight: &Tensor) -> Tensor {
        self.axis.norms(weight).sum() * self.scale(weight)
    }

    fn proximal(&self, weight: &Tensor, t: f64) -> Option<Tensor> {
        Some(no_grad(|| {
            let norms = self.axis.norms(weight);
            let zero = norms.eq(0.0);
            let lost = norms.masked_fill(&zero, 1.0).recip() * (t * self.scale(weight));
            (matrix(weight) * (-lost + 1.0).relu()).reshape(weight.shape())
        }))
    }
}

/// `lambda sum_g s_g ||w_g||` over the rows or columns of the weights, a scalar to add to the loss.
/// Weights are what [`Weights`] says.
///
/// ```
/// use rappel_regularize::{Axis, GroupLasso, group_lasso};
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// params.scope("net").add("weight", [2, 4], Init::Constant(3.0));
/// assert_eq!(group_lasso(&params, 0.5, GroupLasso::default()).item(), 0.5 * 2.0 * 2.0 * 6.0);
/// let columns = GroupLasso { axis: Axis::Columns, scale_by_size: false };
/// assert_eq!(group_lasso(&params, 0.5, columns).item() as f32, 2.0 * 18_f32.sqrt());
/// ```
#[must_use]
pub fn group_lasso(weights: impl Into<Weights>, lambda: f64, groups: GroupLasso) -> Tensor {
    groups.of(&weights.into(), lambda)
}
