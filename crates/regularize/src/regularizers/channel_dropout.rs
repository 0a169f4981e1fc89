//! Dropped channels.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, PROBABILITY, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "channel_dropout",
    summary: "each channel of a residual branch is 0 in all positions of a sample with probability p",
    reference: "Tompson et al., 2014, https://arxiv.org/abs/1411.4280, as PyTorch's Dropout1d",
    fields: ChannelDropoutOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Residuals,
        build: |options, horizon| {
            let own = ChannelDropoutOptions::read_over(options, Some(horizon))?;
            let value = own.p;
            Ok(Regularizer::Noise { value, set: |noise, value| noise.channel_dropout = value })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct ChannelDropoutOptions {
    /// the probability
    #[option(range = PROBABILITY, aka("rate", "probability"))]
    p: Schedule,
}

const ABOUT: &str = "\
In training the branch `f(x)` `[batch, time, channel]` of `x + f(x)` becomes `m f(x) / (1 - p)`, where `m`
`[batch, 1, channel]` is 0 with probability `p`, else 1: a dropped channel is 0 in every position.";
