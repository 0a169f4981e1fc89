//! Schedules at once.

use rappel_registry::Entry;

use crate::build::{Build, SCHEDULE_LIST, part, parts};
use crate::constant;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "chained",
    summary: "the product of schedules",
    reference: "torch.optim.lr_scheduler.ChainedScheduler",
    fields: &[SCHEDULE_LIST],
    build: Build::factors(|options, setting| {
        parts(options)?.iter().try_fold(constant(1.0), |product, table| {
            Ok(product * part(table, setting)?)
        })
    })
    .about(
        "PyTorch's is this product where each of its schedulers multiplies the last rate: constant_lr, \
         linear_lr, exponential, step, multistep, polynomial_lr, multiplicative, cosine_annealing to 0. \
         Its others overwrite what those before them did; here they are factors too. A warm-up is one of them, or within one of them.",
    ),
};
