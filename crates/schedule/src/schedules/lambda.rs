//! A formula.

use rappel_registry::{ConfigError, Entry, Field, Kind, Options};

use crate::Schedule;
use crate::build::Build;
use crate::formula::Formula;

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "lambda",
    summary: "the formula lr_lambda",
    reference: "torch.optim.lr_scheduler.LambdaLR",
    fields: &[LR_LAMBDA],
    build: Build::factors(|options, setting| {
        let (formula, steps) = (formula(options)?, setting.horizon.steps);
        Ok(Schedule::from_fn(None, move |step| formula.at(step, steps)))
    })
    .about(ABOUT),
};

pub(crate) const LR_LAMBDA: Field = Field::required(
    "lr_lambda",
    Kind::Str,
    "formula of step, as Python writes it, such as \"0.95 ** (step // 100)\"",
);

pub(crate) const ABOUT: &str = "A formula has Python's operators `+ - * / // % **` and comparisons, which give 1 or 0; \
    `exp log sqrt sin cos tan tanh abs floor ceil float`, and `min max pow` of two; `pi` and `e`; \
    `step`, counted from 0, also called `epoch` as in PyTorch, where a scheduler's epochs are its calls; \
    and `steps`, the length of the run. No warm-up but what the formula says, such as `min(1, step / 100)`.";

/// The formula of [`LR_LAMBDA`].
pub(crate) fn formula(options: &Options) -> Result<Formula, ConfigError> {
    let text = options.str(LR_LAMBDA.name);
    Formula::parse(text).map_err(|error| {
        options.invalid(LR_LAMBDA.name, format!("\"{text}\" is no formula: {error}"))
    })
}
