//! The Transformer's first schedule.

use rappel_registry::{Entry, Field, Kind};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "noam",
    summary: "linear ramp over warmup_steps, then one over the square root of the step, by model size",
    reference: "Vaswani et al., Attention Is All You Need, https://arxiv.org/abs/1706.03762, equation 3",
    fields: &[
        Field::required("d_model", Kind::int_from(1), "width of the model"),
        Field::new("warmup_steps", Kind::int_from(1), "4000", "steps until the peak")
            .also("num_warmup_steps")
            .aka(&["warmup"]),
    ],
    build: Build::whole(|options, _| {
        let (width, warmup) = (options.u64("d_model") as f64, options.u64("warmup_steps") as f64);
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
