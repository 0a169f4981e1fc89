//! Predictions that stay open.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "confidence_penalty",
    summary: "cross-entropy - lambda * entropy of the prediction: low entropy costs",
    reference: "Pereyra et al., 2017, https://arxiv.org/abs/1701.06548",
    fields: ConfidencePenaltyOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Logits,
        build: |options, horizon| {
            let own = ConfidencePenaltyOptions::read_over(options, Some(horizon))?;
            let value = own.lambda;
            Ok(Regularizer::Loss { value, set: |terms, value| terms.confidence_penalty = value })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct ConfidencePenaltyOptions {
    /// factor of the entropy
    #[option(default = 0.1, range = 0.0.., aka("beta", "weight", "coefficient"))]
    lambda: Schedule,
}

const ABOUT: &str = "\
`lambda H(p)` with the entropy `H(p) = -sum_i p_i ln p_i` of each prediction `p = softmax(x)` is taken from
its cross-entropy, and averaged with it. The gradient for the logits is `lambda p_i (ln p_i + H(p))`.

It is the loss of training alone: validation measures the plain cross-entropy.";
