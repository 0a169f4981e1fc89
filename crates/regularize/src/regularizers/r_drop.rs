//! Two passes that agree.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "r_drop",
    summary: "two passes with other dropout: mean cross-entropy + alpha * symmetric divergence",
    reference: "Liang et al., 2021, https://arxiv.org/abs/2106.14448, weighed as in its authors' code",
    fields: RDropOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Logits,
        build: |options, horizon| {
            let own = RDropOptions::read_over(options, Some(horizon))?;
            let value = own.alpha;
            Ok(Regularizer::Loss { value, set: |terms, value| terms.r_drop = value })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct RDropOptions {
    /// factor of the divergence
    #[option(default = 1.0, range = 0.0.., aka("lambda", "weight", "kl_weight"))]
    alpha: Schedule,
}

const ABOUT: &str = "\
Each batch passes twice, with other random numbers, and predicts `p` and `q`. The loss is the mean of both
cross-entropies, plus `alpha (KL(p || q) + KL(q || p)) / 2`, averaged over the predictions.

It needs something random in the pass, such as dropout, and twice the work; logits are in memory whole.
Where `alpha` is 0 at a step, there is one pass. Validation measures the plain cross-entropy.";
