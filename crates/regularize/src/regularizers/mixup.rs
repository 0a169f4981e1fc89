//! Samples between samples.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "mixup",
    summary: "embeddings of pairs of samples are mixed, and their losses in the same proportion",
    reference: "Zhang et al., 2017, https://arxiv.org/abs/1710.09412; on embeddings: Guo et al., 2019, https://arxiv.org/abs/1905.08941",
    fields: MixupOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Samples,
        build: |options, horizon| {
            let own = MixupOptions::read_over(options, Some(horizon))?;
            let alpha = own.alpha;
            Ok(Regularizer::Mixup { alpha })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct MixupOptions {
    /// both parameters of the weight's Beta distribution; 0: no mixing
    #[option(default = 0.2, range = 0.0..)]
    alpha: Schedule,
}

const ABOUT: &str = "\
In training each sample `i` of a forward pass has a partner `j`, by a random permutation, and all share a weight
`w` from `Beta(alpha, alpha)`. The model sees the embeddings `w x_i + (1 - w) x_j`; the loss is
`w loss(y_i) + (1 - w) loss(y_j)`. A batch of one sample is its own partner.";
