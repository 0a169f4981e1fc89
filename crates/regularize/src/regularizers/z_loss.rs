//! Logits that do not drift.

use rappel_registry::{Field, Range};
use rappel_schedule::{Schedule, scheduled};

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "z_loss",
    summary: "cross-entropy + lambda * (ln sum exp logits)^2: keeps logits from drifting",
    reference: "Chowdhery et al., 2022, https://arxiv.org/abs/2204.02311, section 5",
    fields: &[Field::new("lambda", scheduled(Range::from(0.0)), "1e-4", "factor of the square")
        .aka(&["weight", "z_loss", "coefficient"])],
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Logits,
        build: |options, horizon| {
            let value = Schedule::from_option(options, "lambda", horizon)?;
            Ok(Regularizer::Loss { value, set: |terms, value| terms.z_loss = value })
        },
    },
};

const ABOUT: &str = "\
`lambda lse(x)^2` of the logits `x` of each prediction, with `lse(x) = ln sum_i exp(x_i)`, is added to its
cross-entropy, and averaged with it: `lse` stays near 0, where probabilities are `exp(x)` itself.

It is the loss of training alone: validation measures the plain cross-entropy.";
