//! A factor for the first steps.

use rappel_config::{Entry, OptionSet, Options};

use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "constant_lr",
    summary: "factor for total_iters steps, then 1",
    reference: "torch.optim.lr_scheduler.ConstantLR",
    fields: ConstantLrOptions::FIELDS,
    build: Build::factors(|options, _| {
        let own = ConstantLrOptions::from_options(options)?;
        let (factor, steps) = (own.factor, own.total_iters);
        Ok(Schedule::from_fn(Some(steps), move |step| if step < steps { factor } else { 1.0 }))
    })
    .about("A warm-up of two stairs: the steps before `total_iters` have `factor`, step 0 too, and from there on 1."),
};

/// Its options.
#[derive(Debug, Options)]
struct ConstantLrOptions {
    /// of the first steps
    #[option(default = 0.3333333333333333, range = 0.0..=1.0)]
    factor: f64,
    /// how many those are
    #[option(default = 5)]
    total_iters: u64,
}
