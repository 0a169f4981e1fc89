//! Schedules at once.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, ScheduleList, part};
use crate::constant;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "chained",
    summary: "the product of schedules",
    reference: "torch.optim.lr_scheduler.ChainedScheduler",
    fields: ChainedOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = ChainedOptions::from_options(options)?;
        own.list.parts(options)?.iter().try_fold(constant(1.0), |product, table| {
            Ok(product * part(table, setting)?)
        })
    })
    .about(
        "PyTorch's is this product where each of its schedulers multiplies the last rate: constant_lr, \
         linear_lr, exponential, step, multistep, polynomial_lr, multiplicative, cosine_annealing to 0. \
         Its others overwrite what those before them did; here they are factors too. A warm-up is one of them, or within one of them.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct ChainedOptions {
    #[option(flatten, required)]
    list: ScheduleList,
}
