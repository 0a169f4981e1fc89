//! A cosine that swings on and on.

use std::f64::consts::PI;

use rappel_config::{Entry, OptionSet, Options};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_annealing",
    summary: "half a cosine wave from 1 to eta_min in t_max steps, and back in as many, and so on",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                torch.optim.lr_scheduler.CosineAnnealingLR",
    fields: CosineAnnealingOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = CosineAnnealingOptions::from_options(options)?;
        let steps = own.t_max.unwrap_or(setting.horizon.steps).max(1);
        let swing = Schedule::from_fn(None, move |step| {
            0.5 * (1.0 + (PI * step as f64 / steps as f64).cos())
        });
        Ok(swing.floor(setting.fraction(options, "eta_min", own.eta_min)?))
    })
    .about(ABOUT),
};

/// Its options.
#[derive(Debug, Options)]
struct CosineAnnealingOptions {
    /// steps of half a wave; by default those of the run
    #[option(range = 1..)]
    t_max: Option<u64>,
    /// the lowest value
    #[option(default = 0.0, range = 0.0..)]
    eta_min: f64,
}

const ABOUT: &str = "`r + (1 - r) (1 + cos(pi step / t_max)) / 2`, PyTorch's closed form, where `r` is \
    `eta_min` over the learning rate, or over `value` inline. PyTorch's own recursion drifts from \
    its closed form after `t_max` by what rounding leaves of a difference near 0. No warm-up: step 0 has factor 1.";
