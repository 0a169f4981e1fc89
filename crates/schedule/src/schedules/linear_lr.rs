//! A straight line between two factors.

use rappel_config::{Entry, OptionSet, Options, Range};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "linear_lr",
    summary: "a straight line from start_factor to end_factor within total_iters steps",
    reference: "torch.optim.lr_scheduler.LinearLR",
    fields: LinearLrOptions::FIELDS,
    build: Build::factors(|options, _| {
        let own = LinearLrOptions::from_options(options)?;
        let (start, end) = (own.start_factor, own.end_factor);
        let steps = own.total_iters;
        Ok(Schedule::from_fn(Some(steps), move |step| {
            start + (end - start) * step.min(steps) as f64 / steps as f64
        }))
    })
    .about("`start_factor + (end_factor - start_factor) min(step, total_iters) / total_iters`. A warm-up \
            whose step 0 has `start_factor`, not 0, and whose step `total_iters` is the first with `end_factor`."),
};

/// Its options.
#[derive(Debug, Options)]
struct LinearLrOptions {
    /// factor of the first step
    #[option(default = 0.3333333333333333, range = Range::above(0.0).to(1.0))]
    start_factor: f64,
    /// factor at the end
    #[option(default = 1.0, range = 0.0..=1.0)]
    end_factor: f64,
    /// steps until end_factor, which stays
    #[option(default = 5, range = 1..)]
    total_iters: u64,
}
