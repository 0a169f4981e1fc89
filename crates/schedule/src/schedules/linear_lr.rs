//! A straight line between two factors.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "linear_lr",
    summary: "a straight line from start_factor to end_factor within total_iters steps",
    reference: "torch.optim.lr_scheduler.LinearLR",
    fields: &[
        Field::new(
            "start_factor",
            Kind::Float(Range::above(0.0).to(1.0)),
            "0.3333333333333333",
            "factor of the first step",
        ),
        Field::new("end_factor", Kind::Float(Range::from(0.0).to(1.0)), "1.0", "factor at the end"),
        Field::new("total_iters", Kind::int_from(1), "5", "steps until end_factor, which stays"),
    ],
    build: Build::factors(|options, _| {
        let (start, end) = (options.f64("start_factor"), options.f64("end_factor"));
        let steps = options.u64("total_iters");
        Ok(Schedule::from_fn(Some(steps), move |step| {
            start + (end - start) * step.min(steps) as f64 / steps as f64
        }))
    })
    .about("`start_factor + (end_factor - start_factor) min(step, total_iters) / total_iters`. A warm-up \
            whose step 0 has `start_factor`, not 0, and whose step `total_iters` is the first with `end_factor`."),
};
