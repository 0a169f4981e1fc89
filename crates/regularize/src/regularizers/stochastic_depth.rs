//! Dropped blocks.

use rappel_config::{OptionSet, Options, Words};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, PROBABILITY, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "stochastic_depth",
    summary: "residual branches are left out with probability p times their depth",
    reference: "Huang et al., 2016, https://arxiv.org/abs/1603.09382, scaled as torchvision's",
    fields: StochasticDepthOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Residuals,
        build: |options, horizon| {
            let own = StochasticDepthOptions::read_over(options, Some(horizon))?;
            let value = own.p;
            let set: fn(&mut crate::Noise, f64) = match own.mode {
                Mode::Batch => |noise, p| (noise.stochastic_depth, noise.whole_batch) = (p, true),
                Mode::Row => |noise, p| noise.stochastic_depth = p,
            };
            Ok(Regularizer::Noise { value, set })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct StochasticDepthOptions {
    /// the probability of the last block
    #[option(range = PROBABILITY, aka("drop_path", "drop_path_rate", "rate", "probability"))]
    p: Schedule,
    /// draw for each sample by itself, or once for the batch
    #[option(default = Mode::Row)]
    mode: Mode,
}

/// The values of `mode`.
#[derive(Debug, Clone, Copy, Words)]
enum Mode {
    Row,
    Batch,
}

const ABOUT: &str = "\
In training `x + f(x)` becomes `x + m f(x) / (1 - p_l)` in block `l` of `L`, counted from 1, where `m` is 0
with probability `p_l = p l / L`, else 1: the linear rule, which seldom leaves out early blocks.

The authors scale by `1 - p_l` in evaluation instead; the expected sum is the same.";
