//! A product of a formula's values.

use rappel_config::{Entry, OptionSet, Options};

use super::lambda::{ABOUT, FormulaOptions};
use crate::Schedule;
use crate::build::Build;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "multiplicative",
    summary: "the product of the formula lr_lambda at the steps from 1 to this one",
    reference: "torch.optim.lr_scheduler.MultiplicativeLR",
    fields: MultiplicativeOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = MultiplicativeOptions::from_options(options)?;
        let (formula, steps) = (own.formula.parse(options)?, setting.horizon.steps);
        if steps > MOST {
            let reason = format!("keeps a product for each step; takes at most {MOST} steps");
            return Err(options.invalid("name", reason));
        }
        let mut product = 1.0;
        let mut products = vec![product];
        products.extend((1..=steps).map(|step| {
            product *= formula.at(step, steps);
            product
        }));
        // Past the run the last one stays.
        Ok(Schedule::from_fn(None, move |step| products[step.min(steps) as usize]))
    })
    .about(ABOUT),
};

/// Its options.
#[derive(Debug, Options)]
struct MultiplicativeOptions {
    #[option(flatten, required)]
    formula: FormulaOptions,
}

/// 160 MB of products.
const MOST: u64 = 20_000_000;
