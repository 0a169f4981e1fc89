//! A line that bends down at the end.

use rappel_config::{Entry, OptionSet, Options};

use crate::build::{Build, Phases};
use crate::{Schedule, linear_warmup};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "rex",
    summary: "linear ramp over warmup_steps, then from 1 to 0, slowly at first and fast at the end",
    reference: "Chen et al., REX, https://arxiv.org/abs/2107.04197",
    fields: RexOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = RexOptions::from_options(options)?;
        let (warmup, rest) = own.phases.split(options, setting)?;
        let fall = Schedule::from_fn(Some(rest), move |step| {
            let left = rest.saturating_sub(step) as f64 / rest.max(1) as f64;
            left / (0.5 + 0.5 * left)
        });
        Ok(linear_warmup(warmup).then(fall))
    })
    .about(
        "After the warm-up, `(1 - p) / (1/2 + (1 - p)/2)`, where `p` is the part of the way over.",
    ),
};

/// Its options.
#[derive(Debug, Options)]
struct RexOptions {
    #[option(flatten)]
    phases: Phases,
}
