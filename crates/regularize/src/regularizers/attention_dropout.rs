//! Dropped weights of attention.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, PROBABILITY, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "attention_dropout",
    summary: "each weight of attention, after the softmax, is 0 with probability p, else a / (1 - p)",
    reference: "Vaswani et al., 2017, https://arxiv.org/abs/1706.03762, as PyTorch's attention",
    fields: AttentionDropoutOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::AttentionWeights,
        build: |options, horizon| {
            let own = AttentionDropoutOptions::read_over(options, Some(horizon))?;
            let value = own.p;
            let set = |noise: &mut crate::Noise, value| noise.attention_dropout = Some(value);
            Ok(Regularizer::Noise { value, set })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct AttentionDropoutOptions {
    /// the probability
    #[option(range = PROBABILITY, aka("attn_pdrop", "rate", "probability"))]
    p: Schedule,
}

const ABOUT: &str = "\
In training the weights `a = softmax(q k^T / sqrt(d))` become `m a / (1 - p)`, where each element of `m` is 0
with probability `p`, else 1. It takes the place of the model's own probability.";
