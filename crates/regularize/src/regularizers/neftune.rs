//! Noise on embeddings.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "neftune",
    summary: "uniform noise on token embeddings of size alpha / sqrt(time * width)",
    reference: "Jain et al., 2023, https://arxiv.org/abs/2310.05914, as transformers",
    fields: NeftuneOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Embeddings,
        build: |options, horizon| {
            let own = NeftuneOptions::read_over(options, Some(horizon))?;
            let value = own.alpha;
            Ok(Regularizer::Noise { value, set: |noise, value| noise.neftune = value })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct NeftuneOptions {
    /// size of the noise
    #[option(default = 5.0, range = 0.0.., aka("neftune_noise_alpha", "noise_alpha"))]
    alpha: Schedule,
}

const ABOUT: &str = "\
In training the token embeddings `x` `[batch, time, width]` become `x + alpha / sqrt(time width) u`, where `u` is
uniform in `[-1, 1)`, each element by itself: the noise of a sample has a length of about `alpha / sqrt(3)`.";
