//! What can go wrong with an optimizer.

use std::path::PathBuf;

use rappel_tensor::{DType, ParamsError, StorageError};

use rappel_config::InvalidOption;

/// What can go wrong with an optimizer.
#[derive(Debug, thiserror::Error)]
pub enum OptimError {
    /// An option of a rule cannot be.
    #[error("optimizer: {0}")]
    Option(#[from] InvalidOption),
    /// A pattern of a group is not a valid glob.
    #[error("optimizer group {group}: `{pattern}` is not a valid pattern: {reason}")]
    Pattern {
        /// Which group, counted from 0.
        group: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern of a group gets no parameter.
    #[error(
        "optimizer group {group}: `{pattern}` {why}; patterns are compared with full names such as \
         `{example}`, first match wins; mend it or leave it out"
    )]
    Unmatched {
        /// Which group, counted from 0.
        group: usize,
        /// The pattern.
        pattern: String,
        /// Whether nothing matches, or earlier patterns took all that does.
        why: &'static str,
        /// A parameter's name.
        example: String,
    },
    /// A parameter that its rule, or the precision of its state, cannot be used for.
    #[error("optimizer: parameter `{name}`: {reason}")]
    Refused {
        /// The parameter.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A rule that looks at all its parameters at once was given several types of them.
    #[error(
        "optimizer{}: the rule sums over all its parameters, so they must be stored alike; give \
         those of another type or size a group of their own",
        group.map_or(String::new(), |group| format!(" group {group}"))
    )]
    Mixed {
        /// Which group, counted from 0; `None` for what no group took.
        group: Option<usize>,
    },
    /// There is nothing to train.
    #[error("optimizer: no parameter is trainable; register some, or freeze fewer")]
    NothingToTrain,
    /// The step was given another set of parameters than the optimizer was made for.
    #[error("optimizer: it was made for another set of parameters; make one for these")]
    OtherParams,
    /// A step was to be taken while parameters are the average that the rule hands out.
    #[error("optimizer: parameters are the rule's average; call the optimizer's `train` first")]
    Evaluating,
    /// Trainable parameters got no gradient.
    #[error(
        "parameter `{name}` got no gradient{}; use it in the loss, freeze it, or allow missing gradients",
        and_more(*others)
    )]
    MissingGradient {
        /// The first of them.
        name: String,
        /// How many others.
        others: usize,
    },
    /// A gradient is NaN or infinite.
    #[error(
        "the gradient of `{name}` is {value} at element {index} (step {step}); parameters are unchanged"
    )]
    NonFiniteGradient {
        /// The first such tensor.
        name: String,
        /// Its first such element, in row-major order.
        index: usize,
        /// The value there.
        value: f64,
        /// The optimizer step.
        step: u64,
    },
    /// All gradients are finite, but their norm is not.
    #[error(
        "the norm of the gradients overflows (step {step}; the largest is {value:e}, in `{name}`); \
         parameters are unchanged"
    )]
    NormOverflow {
        /// The tensor with the largest element.
        name: String,
        /// That element's magnitude.
        value: f64,
        /// The optimizer step.
        step: u64,
    },
    /// The loss is NaN or infinite.
    #[error("the loss is {loss} (step {step}); parameters are unchanged")]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
        /// The optimizer step.
        step: u64,
    },
    /// A step that evaluates the loss itself was given gradients alone.
    #[error(
        "optimizer: {what}, so gradients alone do not do; take the step with `step_closure`, which \
         evaluates the loss"
    )]
    NeedsLoss {
        /// Why.
        what: &'static str,
    },
    /// A step within the backward pass wants what is known only once all gradients are there.
    #[error(
        "optimizer: {what}, so the step cannot be taken within the backward pass; leave that out, or \
         take the step after it"
    )]
    NeedsAllGradients {
        /// Why.
        what: &'static str,
    },
    /// A step within the backward pass met something that it could not know beforehand.
    #[error(
        "the step within the backward pass ended early (step {step}): {why}; {updated} parameters had \
         been updated by then, so go back to a checkpoint"
    )]
    Unfinished {
        /// What it met.
        why: String,
        /// How many parameters had been updated.
        updated: usize,
        /// The optimizer step.
        step: u64,
    },
    /// A tensor of saved state has another type than the state.
    #[error("{path}: tensor `{name}` holds {found}, the optimizer keeps {wanted}")]
    StateType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The file's type.
        found: DType,
        /// The optimizer's.
        wanted: DType,
    },
    /// The parameters refused, most likely because a graph still holds them.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A file of saved state could not be read or does not fit.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn and_more(others: usize) -> String {
    match others {
        0 => String::new(),
        n => format!(", nor did {n} other{}", if n == 1 { "" } else { "s" }),
    }
}
