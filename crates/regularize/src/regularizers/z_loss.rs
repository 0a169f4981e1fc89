//! Logits that do not drift.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "z_loss",
    summary: "cross-entropy + lambda * (ln sum exp logits)^2: keeps logits from drifting",
    reference: "Chowdhery et al., 2022, https://arxiv.org/abs/2204.02311, section 5",
    fields: ZLossOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Logits,
        build: |options, horizon| {
            let own = ZLossOptions::read_over(options, Some(horizon))?;
            let value = own.lambda;
            Ok(Regularizer::Loss { value, set: |terms, value| terms.z_loss = value })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct ZLossOptions {
    /// factor of the square
    #[option(default = 1e-4, range = 0.0.., aka("weight", "z_loss", "coefficient"))]
    lambda: Schedule,
}

const ABOUT: &str = "\
`lambda lse(x)^2` of the logits `x` of each prediction, with `lse(x) = ln sum_i exp(x_i)`, is added to its
cross-entropy, and averaged with it: `lse` stays near 0, where probabilities are `exp(x)` itself.

It is the loss of training alone: validation measures the plain cross-entropy.";
