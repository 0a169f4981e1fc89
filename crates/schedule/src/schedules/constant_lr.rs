//! A factor for the first steps.

use rappel_registry::{Entry, Field, Kind, Range};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "constant_lr",
    summary: "factor for total_iters steps, then 1",
    reference: "torch.optim.lr_scheduler.ConstantLR",
    fields: &[
        Field::new(
            "factor",
            Kind::Float(Range::from(0.0).to(1.0)),
            "0.3333333333333333",
            "of the first steps",
        ),
        Field::new("total_iters", Kind::int_from(0), "5", "how many those are"),
    ],
    build: Build::factors(|options, _| {
        let (factor, steps) = (options.f64("factor"), options.u64("total_iters"));
        Ok(Schedule::from_fn(Some(steps), move |step| if step < steps { factor } else { 1.0 }))
    })
    .about("A warm-up of two stairs: the steps before `total_iters` have `factor`, step 0 too, and from there on 1."),
};
