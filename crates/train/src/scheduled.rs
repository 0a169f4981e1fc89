//! What a config varies over the steps, without a run.

use rappel_config::{ConfigError, Kind, Options};
use rappel_optim::{ScheduledValue, scheduled_values};
use rappel_regularize::REGULARIZERS;
use rappel_schedule::{Feedback, Horizon, Schedule, ScheduleConfig};

use crate::config::{BatchSizeConfig, clipping};
use crate::replay::sections;
use crate::{Config, Notes, TrainError};

/// What a config varies over the steps of its run.
#[derive(Debug, Clone)]
pub struct Varied {
    /// The length of the run.
    pub steps: u64,
    /// Every learning rate, and all else that follows a schedule.
    pub values: Vec<ScheduledValue>,
    /// The names of schedules that follow the validations, which multiply learning rates as well.
    pub followed: Vec<String>,
    /// What the settings did beyond what they say.
    pub notes: Vec<String>,
}

/// The length of a config's run and what it varies over the steps: learning rates, and whatever else
/// follows a schedule.
///
/// Of the config only `[optimizer]` must be there. The run takes `steps`, or else `train.steps`.
///
/// # Errors
/// A wrong key, a schedule that cannot be, no length.
///
/// ```
/// let config = "
///     optimizer = { name = 'sgd', lr = 0.1 }
///     schedule = { name = 'linear', warmup_steps = 10 }";
/// let varied = rappel_train::scheduled(config, &[], Some(110))?;
/// let lr = &varied.values[0];
/// assert_eq!((varied.steps, lr.name.as_str(), lr.curve.at(60)), (110, "lr", 0.05));
/// # Ok::<(), rappel_train::TrainError>(())
/// ```
pub fn scheduled(
    config: &str,
    settings: &[&str],
    steps: Option<u64>,
) -> Result<Varied, TrainError> {
    let mut notes = Notes::default();
    let options = sections(&Config::table(config, settings, &mut notes)?)?;
    let Some(steps) = steps.or(options.train.steps) else {
        let reason = "missing, so that the length is not known; give it, or the length as --steps";
        return Err(ConfigError::invalid("train.steps", reason).into());
    };
    Ok(Varied { notes: notes.0, ..varied(&options.variable(), steps)? })
}

/// The options that may follow a schedule.
pub(crate) struct Variable<'a> {
    pub optimizer: &'a Options,
    pub schedule: &'a Options,
    pub regularize: &'a [Options],
    pub max_grad_norm: Option<&'a ScheduleConfig>,
    pub batch_size: &'a BatchSizeConfig,
}

impl<'a> Variable<'a> {
    /// Those of a run's config.
    pub fn of(config: &'a Config) -> Self {
        let run = config.run();
        Self {
            optimizer: &run.optimizer,
            schedule: &run.schedule,
            regularize: &run.regularize,
            max_grad_norm: Some(&run.train.max_grad_norm),
            batch_size: &run.train.batch_size,
        }
    }
}

/// What options vary over the steps of a run of so many.
pub(crate) fn varied(options: &Variable, steps: u64) -> Result<Varied, TrainError> {
    let horizon = Horizon { steps };
    let mut values = scheduled_values(options.optimizer, options.schedule, horizon)?;
    let norm = options.max_grad_norm.map(|norm| clipping(norm, horizon)).transpose()?.flatten();
    if let Some(curve) = norm.filter(|norm| norm.number().is_none()) {
        values.push(ScheduledValue { name: "train.max_grad_norm".to_owned(), curve });
    }
    if let Some(size) = options.batch_size.curve() {
        let size = size.over(horizon)?;
        let curve = Schedule::from_fn(size.length(), move |step| size.at(step).round());
        values.push(ScheduledValue { name: "train.batch_size".to_owned(), curve });
    }
    for (i, section) in options.regularize.iter().enumerate() {
        let fields = REGULARIZERS.lookup(section.name())?.fields.iter();
        for field in fields.filter(|field| matches!(field.kind, Kind::Scheduled { .. })) {
            let given: Option<ScheduleConfig> = section.get(field.name)?;
            if let Some(given @ ScheduleConfig::Table(..)) = given {
                let curve = given.over(horizon)?;
                let name = format!("regularize[{i}].{}", field.name);
                values.push(ScheduledValue { name, curve });
            }
        }
    }
    let feedback = Feedback::from_section(options.schedule)?;
    let followed = feedback.watches().iter().map(|watch| watch.options().name().to_owned());
    Ok(Varied { steps, values, followed: followed.collect(), notes: Vec::new() })
}
