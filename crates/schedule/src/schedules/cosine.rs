//! Waves of a cosine from 1 to 0.

use std::f64::consts::PI;

use rappel_config::{Entry, OptionSet, Options, Range};

use crate::build::Phases;
use crate::{Build, Schedule, ScheduleFn, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine",
    summary: "linear ramp over warmup_steps, then half a cosine wave from 1 to 0",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                transformers get_cosine_schedule_with_warmup",
    fields: CosineOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = CosineOptions::from_options(options)?;
        let (warmup, rest) = own.phases.split(options, setting)?;
        Ok(linear_warmup(warmup).then(cosine_cycles(rest, own.num_cycles)))
    }),
};

/// Its options.
#[derive(Debug, Options)]
struct CosineOptions {
    #[option(flatten)]
    phases: Phases,
    /// cosine waves until the end; 0.5 falls from 1 to 0 once
    #[option(default = 0.5, range = Range::above(0.0))]
    num_cycles: f64,
}

/// `(1 + cos(pi * step / steps)) / 2` until `steps`, 0 from there on; it lasts `steps` steps.
///
/// It falls from 1 to 0, after [SGDR](https://arxiv.org/abs/1608.03983), equation 5 with one period.
///
/// ```
/// use rappel_schedule::cosine;
/// let wave = cosine(4);
/// assert_eq!([wave.at(0), wave.at(4), wave.at(9)], [1.0, 0.0, 0.0]);
/// assert!((wave.at(2) - 0.5).abs() < 1e-15);
/// ```
pub fn cosine(steps: u64) -> Schedule {
    cosine_cycles(steps, 0.5)
}

/// `(1 + cos(2 pi cycles * step / steps)) / 2`: `cycles` whole waves in `steps` steps.
///
/// It keeps its last value from `steps` on, where Hugging Face's formula would swing on and raise
/// the learning rate again.
///
/// ```
/// use rappel_schedule::cosine_cycles;
/// assert_eq!(cosine_cycles(10, 1.0).at(10), 1.0);
/// ```
pub fn cosine_cycles(steps: u64, cycles: f64) -> Schedule {
    Schedule::new(Cosine { steps, cycles })
}

#[derive(Debug)]
struct Cosine {
    steps: u64,
    cycles: f64,
}

impl ScheduleFn for Cosine {
    fn at(&self, step: u64) -> f64 {
        let progress = step.min(self.steps) as f64 / self.steps.max(1) as f64;
        // The order of the products is transformers', so that the roundings agree.
        (0.5 * (1.0 + (PI * self.cycles * 2.0 * progress).cos())).max(0.0)
    }

    fn length(&self) -> Option<u64> {
        Some(self.steps)
    }
}
