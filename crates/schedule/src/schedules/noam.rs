//! The Transformer's first schedule.

use rappel_config::{Entry, OptionSet, Options};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "noam",
    summary: "linear ramp over warmup_steps, then one over the square root of the step, by model size",
    reference: "Vaswani et al., Attention Is All You Need, https://arxiv.org/abs/1706.03762, equation 3",
    fields: NoamOptions::FIELDS,
    build: Build::whole(|options, _| {
        let own = NoamOptions::from_options(options)?;
        let (width, warmup) = (own.d_model as f64, own.warmup_steps as f64);
        Ok(Schedule::from_fn(None, move |step| {
            let number = step as f64 + 1.0;
            width.powf(-0.5) * number.powf(-0.5).min(number * warmup.powf(-1.5))
        }))
    })
    .about(
        "`d_model ** -0.5 min(n ** -0.5, n warmup_steps ** -1.5)`, where `n = step + 1`: the paper counts \
         from 1. In `[schedule]` it multiplies the learning rate, which is 1 in the paper.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct NoamOptions {
    /// width of the model
    #[option(range = 1..)]
    d_model: u64,
    /// steps until the peak
    #[option(default = 4000, range = 1.., also = "num_warmup_steps", aka("warmup"))]
    warmup_steps: u64,
}
