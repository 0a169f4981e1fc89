//! Half waves of a cosine, each from the top.

use std::f64::consts::PI;

use rappel_config::{Entry, OptionSet, Options};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_annealing_warm_restarts",
    summary: "half cosine waves from 1 to eta_min, the first of t_0 steps, each t_mult as long as the last",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                torch.optim.lr_scheduler.CosineAnnealingWarmRestarts",
    fields: CosineAnnealingWarmRestartsOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = CosineAnnealingWarmRestartsOptions::from_options(options)?;
        let (first, growth) = (own.t_0, own.t_mult);
        let waves = Schedule::from_fn(None, move |step| {
            let (within, length) = place(step, first, growth);
            0.5 * (1.0 + (PI * within as f64 / length as f64).cos())
        });
        Ok(waves.floor(setting.fraction(options, "eta_min", own.eta_min)?))
    })
    .about(
        "`r + (1 - r) (1 + cos(pi t_cur / t_i)) / 2`, where `r` is `eta_min` over \
         the learning rate, or over `value` inline. No warm-up: its restarts are warm for the parameters, \
            and step 0 and the first of each wave have factor 1.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct CosineAnnealingWarmRestartsOptions {
    /// steps of the first half wave
    #[option(range = 1..)]
    t_0: u64,
    /// how many times as long the next one is
    #[option(default = 1, range = 1..)]
    t_mult: u64,
    /// the lowest value
    #[option(default = 0.0, range = 0.0..)]
    eta_min: f64,
}

/// Where a step lies in its wave, and how long that is.
fn place(step: u64, first: u64, growth: u64) -> (u64, u64) {
    if growth == 1 {
        return (step % first, first);
    }
    let (mut within, mut length) = (step, first);
    while within >= length {
        within -= length;
        length = length.saturating_mul(growth);
    }
    (within, length)
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn each_wave_starts_where_the_last_ends() {
        assert_eq!(place(9, 5, 1), (4, 5));
        assert_eq!([place(4, 5, 2), place(5, 5, 2)], [(4, 5), (0, 10)]);
        assert_eq!([place(14, 5, 2), place(15, 5, 2)], [(9, 10), (0, 20)]);
    }
}
