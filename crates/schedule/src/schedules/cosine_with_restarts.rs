//! Half waves of a cosine until the end.

use std::f64::consts::PI;

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, Phases};
use crate::{Schedule, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_with_restarts",
    summary: "linear ramp over warmup_steps, then num_cycles half cosine waves, each from 1 to 0",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                transformers get_cosine_with_hard_restarts_schedule_with_warmup",
    fields: CosineWithRestartsOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = CosineWithRestartsOptions::from_options(options)?;
        let (warmup, rest) = own.phases.split(options, setting)?;
        let cycles = own.num_cycles as f64;
        let waves = Schedule::from_fn(Some(rest), move |step| {
            if step >= rest {
                return 0.0;
            }
            let progress = step as f64 / rest as f64;
            0.5 * (1.0 + (PI * ((cycles * progress) % 1.0)).cos())
        });
        Ok(linear_warmup(warmup).then(waves))
    }),
};

/// Its options.
#[derive(Debug, Options)]
struct CosineWithRestartsOptions {
    #[option(flatten)]
    phases: Phases,
    /// half waves until the end
    #[option(default = 1, range = 1..)]
    num_cycles: u64,
}
