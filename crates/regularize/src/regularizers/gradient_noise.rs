//! Noise on gradients that dies down.

use rappel_config::{OptionSet, Options};
use rappel_schedule::Schedule;

use super::{ActsOn, Entry, Regularizer, Technique};

pub(super) const ENTRY: Entry = Entry {
    name: "gradient_noise",
    summary: "g + normal noise of variance eta / (1 + step)^gamma",
    reference: "Neelakantan et al., 2015, https://arxiv.org/abs/1511.06807",
    fields: GradientNoiseOptions::FIELDS,
    build: Technique {
        about: ABOUT,
        acts_on: ActsOn::Gradients,
        build: |options, horizon| {
            let own = GradientNoiseOptions::read_over(options, Some(horizon))?;
            let eta = own.eta;
            let gamma = own.gamma;
            let variance =
                Schedule::from_fn(None, move |step| eta.at(step) / (1.0 + step as f64).powf(gamma));
            Ok(Regularizer::GradientNoise { variance })
        },
    },
};

/// Its options.
#[derive(Debug, Options)]
struct GradientNoiseOptions {
    /// the variance at the first step
    #[option(default = 0.3, range = 0.0.., aka("lambda", "variance", "std"))]
    eta: Schedule,
    /// how fast it falls
    #[option(default = 0.55, range = 0.0..)]
    gamma: f64,
}

const ABOUT: &str = "\
`g <- g + N(0, eta / (1 + t)^gamma)`, independent for each element of each gradient, at step `t` counted
from 0. It is added after clipping, to every trained parameter, from the run's seed and the step.

The authors choose `eta` of 0.01, 0.3 or 1 and `gamma` 0.55.";
