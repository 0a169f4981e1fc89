//! Dropped channels.

use rappel_registry::Field;
use rappel_schedule::{Schedule, scheduled};

use super::{ActsOn, Entry, PROBABILITY, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "channel_dropout",
    summary: "each channel of a residual branch is 0 in all positions of a sample with probability p",
    reference: "Tompson et al., 2014, https://arxiv.org/abs/1411.4280, as PyTorch's Dropout1d",
    fields: &[Field::required("p", scheduled(PROBABILITY), "the probability")
        .aka(&["rate", "probability"])],
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Residuals,
        build: |options, horizon| {
            let value = Schedule::from_option(options, "p", horizon)?;
            Ok(Regularizer::Noise { value, set: |noise, value| noise.channel_dropout = value })
        },
    },
};

const ABOUT: &str = "\
In training the branch `f(x)` `[batch, time, channel]` of `x + f(x)` becomes `m f(x) / (1 - p)`, where `m`
`[batch, 1, channel]` is 0 with probability `p`, else 1: a dropped channel is 0 in every position.";
