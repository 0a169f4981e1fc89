//! Noise on embeddings.

use rappel_registry::{Field, Range};
use rappel_schedule::{Schedule, scheduled};

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "neftune",
    summary: "uniform noise on token embeddings of size alpha / sqrt(time * width)",
    reference: "Jain et al., 2023, https://arxiv.org/abs/2310.05914, as transformers",
    fields: &[Field::new("alpha", scheduled(Range::from(0.0)), "5.0", "size of the noise")
        .aka(&["neftune_noise_alpha", "noise_alpha"])],
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Embeddings,
        build: |options, horizon| {
            let value = Schedule::from_option(options, "alpha", horizon)?;
            Ok(Regularizer::Noise { value, set: |noise, value| noise.neftune = value })
        },
    },
};

const ABOUT: &str = "\
In training the token embeddings `x` `[batch, time, width]` become `x + alpha / sqrt(time width) u`, where `u` is
uniform in `[-1, 1)`, each element by itself: the noise of a sample has a length of about `alpha / sqrt(3)`.";
