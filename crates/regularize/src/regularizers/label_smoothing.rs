//! Targets that leave the other classes a share.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "label_smoothing",
    summary: "cross-entropy against (1 - e) target + e / classes: keeps a model from being too sure",
    reference: "Szegedy et al., 2015, https://arxiv.org/abs/1512.00567, as PyTorch's CrossEntropyLoss",
    fields: LabelSmoothingOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Targets,
        build: |options, horizon| {
            let own = LabelSmoothingOptions::read_over(options, Some(horizon))?;
            let value = own.label_smoothing;
            Ok(Regularizer::Loss { value, set: |terms, value| terms.label_smoothing = value })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct LabelSmoothingOptions {
    /// e: the share of each target that is spread evenly over all classes
    #[option(range = 0.0..=1.0, aka("smoothing", "epsilon", "lambda"))]
    label_smoothing: Schedule,
}

const ABOUT: &str = "\
The target `t` becomes the distribution `q = (1 - e) [t] + e / K` over the `K` classes, with
`e = label_smoothing`: the loss is `-sum_i q_i ln p_i = lse(x) - (1 - e) x_t - e mean(x)` for logits `x`.

It is the loss of training alone: validation measures the plain cross-entropy.";
