//! Another length for a run that has begun.

use rappel_config::ConfigError;

use crate::checkpoint::State;
use crate::config::Config;
use crate::scheduled::{Variable, varied};
use crate::{RunDir, TrainError};

/// Whether a run of `steps` would have taken the steps that are behind `saved`, which planned another
/// length: all that follows a schedule must have had the same values, and no validation may have
/// been followed that the longer run does not make.
///
/// # Errors
/// What would have been another, and the way by a new run.
pub(crate) fn check_length(
    dir: &RunDir,
    config: &Config,
    saved: &State,
    steps: u64,
) -> Result<(), TrainError> {
    if saved.steps == steps {
        return Ok(());
    }
    let refused = |why: String| Err(ConfigError::invalid("train.steps", why).into());
    if steps < saved.step {
        return refused(format!(
            "the run has taken {} steps already; give that or more",
            saved.step
        ));
    }
    let onward = format!(
        "keep {}, or begin a new run at a checkpoint: rappel train CONFIG --from {} --set train.steps={steps}",
        saved.steps,
        dir.path().display(),
    );
    let [old, new] = [saved.steps, steps].map(|steps| varied(&Variable::of(config), steps));
    for (old, new) in old?.values.iter().zip(&new?.values) {
        let differs = |step: &u64| old.curve.at(*step).to_bits() != new.curve.at(*step).to_bits();
        if let Some(step) = (0..saved.step).find(differs) {
            return refused(format!(
                "{} follows a schedule over the whole run: of {steps} steps instead of {}, step {} would \
                 have been another; {onward}",
                old.name,
                saved.steps,
                step + 1
            ));
        }
    }
    let every = config.run().train.eval_every;
    if config.follows_validations()
        && let Some(found) = saved.history.iter().find(|found| !is_due(found.step, every))
    {
        return refused(format!(
            "the run follows its validations, and that after step {}, its last one, is none of a run of \
             {steps} steps; {onward}",
            found.step
        ));
    }
    Ok(())
}

impl State {
    /// Takes another length, after [`check_length`]: forgets the validation at the old end, which is
    /// none of the longer run.
    pub(crate) fn lengthen(&mut self, steps: u64, eval_every: u64) {
        if self.steps != steps {
            self.history.retain(|found| is_due(found.step, eval_every));
            self.steps = steps;
        }
    }
}

/// Whether a validation comes after `step` wherever the run ends.
fn is_due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
