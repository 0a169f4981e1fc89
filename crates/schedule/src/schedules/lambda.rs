//! A formula.

use rappel_config::{ConfigError, Entry, OptionSet, Options};

use crate::Schedule;
use crate::build::Build;
use crate::formula::Formula;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "lambda",
    summary: "the formula lr_lambda",
    reference: "torch.optim.lr_scheduler.LambdaLR",
    fields: LambdaOptions::FIELDS,
    build: Build::factors(|options, setting| {
        let own = LambdaOptions::from_options(options)?;
        let (formula, steps) = (own.formula.parse(options)?, setting.horizon.steps);
        Ok(Schedule::from_fn(None, move |step| formula.at(step, steps)))
    })
    .about(ABOUT),
};

/// Its options.
#[derive(Debug, Options)]
struct LambdaOptions {
    #[option(flatten, required)]
    formula: FormulaOptions,
}

pub(crate) const ABOUT: &str = "A formula has Python's operators `+ - * / // % **` and comparisons, which give 1 or 0; \
    `exp log sqrt sin cos tan tanh abs floor ceil float`, and `min max pow` of two; `pi` and `e`; \
    `step`, counted from 0, also called `epoch` as in PyTorch, where a scheduler's epochs are its calls; \
    and `steps`, the length of the run. No warm-up but what the formula says, such as `min(1, step / 100)`.";

/// The formula.
#[derive(Debug, Options)]
pub(crate) struct FormulaOptions {
    /// formula of step, as Python writes it, such as "0.95 ** (step // 100)"
    lr_lambda: String,
}

impl FormulaOptions {
    /// Reads it.
    pub fn parse(&self, options: &Options) -> Result<Formula, ConfigError> {
        let text = &self.lr_lambda;
        Formula::parse(text).map_err(|error| {
            options.invalid("lr_lambda", format!("\"{text}\" is not a valid formula: {error}"))
        })
    }
}
