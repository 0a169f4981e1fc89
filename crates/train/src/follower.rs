//! What the validations make of the learning rate.

use rappel_config::ConfigError;
use rappel_schedule::{Feedback, Watch};

use crate::metrics::place;
use crate::task::Task;
use crate::{Config, TrainError, Validation};

/// The schedules that follow the validations, each with its metric: functions of the history of
/// validations alone, so that a run that was resumed takes the same steps.
pub(crate) struct Follower {
    feedback: Feedback,
    /// Of each, the metric's place and whether more of it is better.
    metrics: Vec<(usize, bool)>,
}

impl Follower {
    /// Those of the config's `[schedule]`.
    pub fn new(config: &Config, task: &dyn Task) -> Result<Self, TrainError> {
        let feedback = Feedback::from_section(&config.run().schedule)?;
        if let Some(watch) = feedback.watches().first() {
            if config.run().train.eval_every == 0 {
                let reason = "the schedule follows the validations, and 0 means one at the end; set it to \
                              the steps between two";
                return Err(ConfigError::invalid("train.eval_every", reason).into());
            }
            if !task.validates() {
                let reason =
                    "there is no validation data to follow; give some, or another schedule";
                return Err(watch.options().invalid("name", reason).into());
            }
        }
        let metrics = task.metrics();
        let found = |watch: &Watch| {
            let name = watch.metric().unwrap_or(metrics[0].name);
            let index =
                place(name, metrics).map_err(|reason| watch.options().invalid("metric", reason))?;
            Ok((index, metrics[index].greater_is_better))
        };
        let metrics = feedback.watches().iter().map(found).collect::<Result<_, TrainError>>()?;
        Ok(Self { feedback, metrics })
    }

    /// What a learning rate of `lr` is multiplied by after the validations of `history`.
    pub fn factor(&self, lr: f64, history: &[Validation]) -> f64 {
        let watches = self.feedback.watches().iter().zip(&self.metrics);
        let factor = |(watch, &(place, greater_is_better)): (&Watch, &(usize, bool))| {
            let values: Vec<_> = history.iter().map(|found| found.values[place]).collect();
            watch.factor(lr, &values, greater_is_better)
        };
        watches.map(factor).product()
    }
}
