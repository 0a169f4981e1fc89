//! Dropped elements.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, PROBABILITY, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "dropout",
    summary: "each element is 0 with probability p, else x / (1 - p), wherever a model has dropout",
    reference: "Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html",
    fields: DropoutOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::DropoutLayers,
        build: |options, horizon| {
            let own = DropoutOptions::read_over(options, Some(horizon))?;
            let value = own.p;
            Ok(Regularizer::Noise { value, set: |noise, value| noise.dropout = Some(value) })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct DropoutOptions {
    /// the probability
    #[option(range = PROBABILITY, aka("dropout", "rate", "probability"))]
    p: Schedule,
}

const ABOUT: &str = "\
In training `y_i = m_i x_i / (1 - p)`, where each `m_i` is 0 with probability `p`, else 1, so that the mean of
`y` is `x`. It acts in every dropout layer that the model has, such as on embeddings and on residual branches,
and takes the place of the model's own probability, for attention's see `attention_dropout`.";
