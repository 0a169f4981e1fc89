//! Dropped blocks.

use rappel_registry::{Field, Kind};
use rappel_schedule::{Schedule, scheduled};

use super::{ActsOn, Entry, PROBABILITY, Regularizer, Technique};

pub(super) const ENTRY: Entry =
    Entry {
        name: "stochastic_depth",
        summary: "residual branches are left out with probability p times their depth",
        reference: "Huang et al., 2016, https://arxiv.org/abs/1603.09382, scaled as torchvision's",
        fields: &[
            Field::required("p", scheduled(PROBABILITY), "the probability of the last block")
                .aka(&["drop_path", "drop_path_rate", "rate", "probability"]),
            Field::new(
                "mode",
                Kind::OneOf(&["row", "batch"]),
                "\"row\"",
                "draw for each sample by itself, or once for the batch",
            ),
        ],
        build: Technique {
            about: ABOUT,
            acts_on: ActsOn::Residuals,
            build: |options, horizon| {
                let value = Schedule::from_option(options, "p", horizon)?;
                let set: fn(&mut crate::Noise, f64) = match options.str("mode") {
                    "batch" => |noise, p| (noise.stochastic_depth, noise.whole_batch) = (p, true),
                    _ => |noise, p| noise.stochastic_depth = p,
                };
                Ok(Regularizer::Noise { value, set })
            },
        },
    };

const ABOUT: &str = "\
In training `x + f(x)` becomes `x + m f(x) / (1 - p_l)` in block `l` of `L`, counted from 1, where `m` is 0
with probability `p_l = p l / L`, else 1: the linear rule, which seldom leaves out early blocks.

The authors scale by `1 - p_l` in evaluation instead; the expected sum is the same.";
