//! Half waves of a cosine, each from the top.

use std::f64::consts::PI;

use rappel_registry::{Entry, Field, Kind};

use super::cosine_annealing::ETA_MIN;
use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "cosine_annealing_warm_restarts",
    summary: "half cosine waves from 1 to eta_min, the first of t_0 steps, each t_mult as long as the last",
    reference: "Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983; \
                torch.optim.lr_scheduler.CosineAnnealingWarmRestarts",
    fields: &[
        Field::required("t_0", Kind::int_from(1), "steps of the first half wave"),
        Field::new("t_mult", Kind::int_from(1), "1", "how many times as long the next one is"),
        ETA_MIN,
    ],
    build: Build::factors(|options, setting| {
        let (first, growth) = (options.u64("t_0"), options.u64("t_mult"));
        let waves = Schedule::from_fn(None, move |step| {
            let (within, length) = place(step, first, growth);
            0.5 * (1.0 + (PI * within as f64 / length as f64).cos())
        });
        Ok(waves.floor(setting.fraction(options, "eta_min")?))
    })
    .about(
        "`r + (1 - r) (1 + cos(pi t_cur / t_i)) / 2`, where `r` is `eta_min` over \
         the learning rate, or over `value` inline. No warm-up: its restarts are warm for the parameters, \
            and step 0 and the first of each wave have factor 1.",
    ),
};

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
