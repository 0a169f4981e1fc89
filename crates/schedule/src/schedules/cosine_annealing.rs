//! A cosine that swings on and on.

use std::f64::consts::PI;

use rappel_registry::{Entry, Field, Kind, Range};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_annealing",
    summary: "half a cosine wave from 1 to eta_min in t_max steps, and back in as many, and so on",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                torch.optim.lr_scheduler.CosineAnnealingLR",
    fields: &[
        Field::optional(
            "t_max",
            Kind::int_from(1),
            "steps of half a wave; by default those of the run",
        ),
        ETA_MIN,
    ],
    build: Build::factors(|options, setting| {
        let steps = options.opt_u64("t_max").unwrap_or(setting.horizon.steps).max(1);
        let swing = Schedule::from_fn(None, move |step| {
            0.5 * (1.0 + (PI * step as f64 / steps as f64).cos())
        });
        Ok(swing.floor(setting.fraction(options, "eta_min")?))
    })
    .about(ABOUT),
};

const ABOUT: &str = "`r + (1 - r) (1 + cos(pi step / t_max)) / 2`, PyTorch's closed form, where `r` is \
    `eta_min` over the learning rate, or over `value` inline. PyTorch's own recursion drifts from \
    its closed form after `t_max` by what rounding leaves of a difference near 0. No warm-up: step 0 has factor 1.";

pub(crate) const ETA_MIN: Field =
    Field::new("eta_min", Kind::Float(Range::from(0.0)), "0.0", "the lowest value");
