//! Two passes that agree.

use rappel_registry::{Field, Range};
use rappel_schedule::{Schedule, scheduled};

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "r_drop",
    summary: "two passes with other dropout: mean cross-entropy + alpha * symmetric divergence",
    reference: "Liang et al., 2021, https://arxiv.org/abs/2106.14448, weighed as in its authors' code",
    fields: &[Field::new("alpha", scheduled(Range::from(0.0)), "1.0", "factor of the divergence")
        .aka(&["lambda", "weight", "kl_weight"])],
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Logits,
        build: |options, horizon| {
            let value = Schedule::from_option(options, "alpha", horizon)?;
            Ok(Regularizer::Loss { value, set: |terms, value| terms.r_drop = value })
        },
    },
};

const ABOUT: &str = "\
Each batch passes twice, with other random numbers, and predicts `p` and `q`. The loss is the mean of both
cross-entropies, plus `alpha (KL(p || q) + KL(q || p)) / 2`, averaged over the predictions.

It needs something random in the pass, such as dropout, and twice the work; logits are in memory whole.
Where `alpha` is 0 at a step, there is one pass. Validation measures the plain cross-entropy.";
