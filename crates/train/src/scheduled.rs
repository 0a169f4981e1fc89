//! What a config varies over the steps, without a run.

use rappel_optim::{ScheduledValue, scheduled_values};
use rappel_registry::{ConfigError, Kind, Options, Scheduled};
use rappel_regularize::REGULARIZERS;
use rappel_schedule::{Feedback, Horizon, Schedule};

use crate::replay::sections;
use crate::{Config, Note, TrainError};

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
    pub notes: Vec<Note>,
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
    let mut notes = Vec::new();
    let options = sections(&Config::table(config, settings, &mut |note| notes.push(note))?)?;
    let train = options.table("train");
    let Some(steps) = steps.or(train.opt_u64("steps")) else {
        let reason = "missing, so that the length is not known; give it, or the length as --steps";
        return Err(train.invalid("steps", reason).into());
    };
    Ok(Varied { notes, ..varied(&options, steps)? })
}

/// What resolved options vary over the steps of a run of so many.
pub(crate) fn varied(options: &Options, steps: u64) -> Result<Varied, TrainError> {
    let train = options.table("train");
    let horizon = Horizon { steps };
    let (optimizer, schedule) = (options.table("optimizer"), options.table("schedule"));
    let mut values = scheduled_values(optimizer, schedule, horizon)?;
    if let Some(curve) = max_grad_norm(train, horizon)?.filter(|norm| norm.number().is_none()) {
        values.push(ScheduledValue { name: "train.max_grad_norm".to_owned(), curve });
    }
    if train.word("batch_size").is_none()
        && let Scheduled::Table(..) = train.scheduled("batch_size")
    {
        let size = Schedule::from_option(train, "batch_size", horizon)?;
        let curve = Schedule::from_fn(size.length(), move |step| size.at(step).round());
        values.push(ScheduledValue { name: "train.batch_size".to_owned(), curve });
    }
    for (i, section) in options.tables("regularize").iter().enumerate() {
        let fields = REGULARIZERS.lookup(section.str("name"))?.fields.iter();
        for field in fields.filter(|field| matches!(field.kind, Kind::Scheduled { .. })) {
            if let Some(Scheduled::Table(..)) = section.opt_scheduled(field.name) {
                let curve = Schedule::from_option(section, field.name, horizon)?;
                let name = format!("regularize[{i}].{}", field.name);
                values.push(ScheduledValue { name, curve });
            }
        }
    }
    let feedback = Feedback::from_section(options.table("schedule"))?;
    let followed = feedback.watches().iter().map(|watch| watch.options().str("name").to_owned());
    Ok(Varied { steps, values, followed: followed.collect(), notes: Vec::new() })
}

/// The norm that gradients are clipped to, if they are: 0 stands for never, at one step or at all.
pub(crate) fn max_grad_norm(
    train: &Options,
    horizon: Horizon,
) -> Result<Option<Schedule>, ConfigError> {
    let key = "max_grad_norm";
    match train.opt_scheduled(key) {
        None => Ok(None),
        Some(Scheduled::Number(norm)) => Ok((norm > 0.0).then(|| norm.into())),
        Some(Scheduled::Table(..)) => {
            let curve = Schedule::from_option(train, key, horizon)?;
            let never = |norm: f64| if norm == 0.0 { f64::INFINITY } else { norm };
            Ok(Some(Schedule::from_fn(None, move |step| never(curve.at(step)))))
        }
    }
}
