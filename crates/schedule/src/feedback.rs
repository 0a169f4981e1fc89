//! Factors of the learning rate that follow a metric of the validations.

use std::fmt;

use rappel_config::{ConfigError, OptionSet, Options, Words};

use crate::SCHEDULES;
use crate::build::ScheduleList;

/// A learning rate as a pure function of the values of a metric so far.
pub(crate) trait Follow: Send + Sync + fmt::Debug {
    /// The learning rate after the validations that found `values`, oldest first, where it began with
    /// `lr`. What is not finite is worse than anything.
    fn lr(&self, lr: f64, values: &[f64], greater_is_better: bool) -> f64;
}

/// The schedules of a `[schedule]` that follow the validations: `reduce_lr_on_plateau` and `greedy`.
///
/// Nothing of them is saved: the factor is a function of what all validations found, so that a
/// resumed run continues as if it had not stopped.
///
/// ```
/// use rappel_config::Family;
/// use rappel_schedule::{Feedback, SCHEDULES};
/// let given = toml::from_str("name = 'reduce_lr_on_plateau'\npatience = 1").unwrap();
/// let options = SCHEDULES.resolve_options("schedule", &given)?;
/// let feedback = Feedback::from_section(&options)?;
/// let after = |losses: &[f64]| feedback.watches()[0].factor(1e-3, losses, false);
/// assert_eq!((after(&[]), after(&[3.0, 2.0, 2.5])), (1.0, 1.0));
/// assert_eq!(after(&[3.0, 2.0, 2.5, 2.5]), 0.1);
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Feedback(Vec<Watch>);

impl Feedback {
    /// What of a resolved section of [`SCHEDULES`] follows the validations.
    ///
    /// # Errors
    /// What is wrong with a schedule within it.
    pub fn from_section(options: &Options) -> Result<Self, ConfigError> {
        let mut watches = Vec::new();
        find(options.clone(), &mut watches)?;
        Ok(Self(watches))
    }

    /// Its schedules; the learning rate is multiplied by the factor of each.
    pub fn watches(&self) -> &[Watch] {
        &self.0
    }
}

fn find(options: Options, watches: &mut Vec<Watch>) -> Result<(), ConfigError> {
    if let Some(follow) = SCHEDULES.lookup(options.name())?.build.follow {
        let (watched, rule) = follow(&options)?;
        watches.push(Watch { options, watched, rule });
    } else if options.declares("schedules") {
        ScheduleList::from_options(&options)?
            .parts(&options)?
            .into_iter()
            .try_for_each(|part| find(part, watches))?;
    }
    Ok(())
}

/// A schedule that follows one metric.
#[derive(Debug)]
pub struct Watch {
    options: Options,
    watched: Watched,
    rule: Box<dyn Follow>,
}

impl Watch {
    /// The name of the metric; unset: the loss.
    pub fn metric(&self) -> Option<&str> {
        self.watched.metric.as_deref()
    }

    /// The schedule's options, to say what is wrong with one.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The factor of a learning rate of `lr` after the validations that found `values`, oldest first.
    /// The option `mode`, where set, stands before `greater_is_better`.
    pub fn factor(&self, lr: f64, values: &[f64], greater_is_better: bool) -> f64 {
        if lr == 0.0 {
            return 1.0;
        }
        let maximize = self.watched.mode.map_or(greater_is_better, |mode| mode == Mode::Max);
        self.rule.lr(lr, values, maximize) / lr
    }
}

/// The metric that a schedule follows.
#[derive(Debug, Options)]
pub(crate) struct Watched {
    /// metric of the validations; by default the loss
    #[option(aka("metric_for_best_model"))]
    metric: Option<String>,
    /// whether the metric is to fall or to rise; by default what is better of it
    mode: Option<Mode>,
}

/// The values of `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Words)]
enum Mode {
    Min,
    Max,
}

/// The values of `threshold_mode`.
#[derive(Debug, Clone, Copy, Words)]
pub(crate) enum ThresholdMode {
    /// A part of the best value.
    Rel,
    /// As it is.
    Abs,
}

/// When a value is better than the best so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Better {
    pub threshold: f64,
    pub mode: ThresholdMode,
}

impl Better {
    /// What every value is better than.
    pub fn worst(maximize: bool) -> f64 {
        if maximize { f64::NEG_INFINITY } else { f64::INFINITY }
    }

    pub fn than(self, best: f64, value: f64, maximize: bool) -> bool {
        // A checkpoint keeps no difference between numbers that are not finite.
        value.is_finite()
            && match (maximize, self.mode) {
                (false, ThresholdMode::Rel) => value < best * (1.0 - self.threshold),
                (false, ThresholdMode::Abs) => value < best - self.threshold,
                (true, ThresholdMode::Rel) => value > best * (1.0 + self.threshold),
                (true, ThresholdMode::Abs) => value > best + self.threshold,
            }
    }
}
