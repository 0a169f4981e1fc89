//! Predictions that stay open.

use rappel_registry::{Field, Range};
use rappel_schedule::{Schedule, scheduled};

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "confidence_penalty",
    summary: "cross-entropy - lambda * entropy of the prediction: low entropy costs",
    reference: "Pereyra et al., 2017, https://arxiv.org/abs/1701.06548",
    fields: &[Field::new("lambda", scheduled(Range::from(0.0)), "0.1", "factor of the entropy")
        .aka(&["beta", "weight", "coefficient"])],
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Logits,
        build: |options, horizon| {
            let value = Schedule::from_option(options, "lambda", horizon)?;
            Ok(Regularizer::Loss { value, set: |terms, value| terms.confidence_penalty = value })
        },
    },
};

const ABOUT: &str = "\
`lambda H(p)` with the entropy `H(p) = -sum_i p_i ln p_i` of each prediction `p = softmax(x)` is taken from
its cross-entropy, and averaged with it. The gradient for the logits is `lambda p_i (ln p_i + H(p))`.

It is the loss of training alone: validation measures the plain cross-entropy.";
