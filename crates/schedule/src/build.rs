//! What an entry of the registry builds with, and what it knows of where it stands.

use rappel_config::{ConfigError, Entry, Horizon, More, Options};
use toml::{Table, Value};

use crate::feedback::{Follow, Watched};
use crate::{SCHEDULES, Schedule, constant};

/// Builds a curve from an entry's options.
type Make = fn(&Options, Setting) -> Result<Schedule, ConfigError>;

/// Reads what follows the validations from an entry's options.
type MakeFollow = fn(&Options) -> Result<(Watched, Box<dyn Follow>), ConfigError>;

/// How an entry of [`SCHEDULES`] builds its curve.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    pub(crate) make: Make,
    /// Whether it stands inline without a `value`.
    pub(crate) sets_values: bool,
    /// Whether its values are those of the original, and not factors of them.
    absolute: bool,
    /// Reads what follows the validations, where it does.
    pub(crate) follow: Option<MakeFollow>,
    about: &'static str,
}

impl Build {
    /// A schedule of factors: inline it needs the `value` that they multiply.
    pub(crate) const fn factors(make: Make) -> Self {
        Self { make, sets_values: false, absolute: false, follow: None, about: "" }
    }

    /// A schedule whose options are the values themselves, such as `max_lr`: inline it needs no
    /// `value`, and in `[schedule]` it is the learning rate, whatever `optimizer.lr` is.
    pub(crate) const fn values(make: Make) -> Self {
        Self { absolute: true, ..Self::whole(make) }
    }

    /// A schedule of factors that inline needs no `value`, for its formula has no peak of 1.
    pub(crate) const fn whole(make: Make) -> Self {
        Self { make, sets_values: true, absolute: false, follow: None, about: "" }
    }

    /// A schedule that follows a metric of the validations instead of the step: as a curve it is 1.
    pub(crate) const fn following(follow: MakeFollow) -> Self {
        Self { follow: Some(follow), ..Self::factors(stand_still) }
    }

    /// The same with its formula and what else there is to know, in Markdown.
    pub(crate) const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }
}

fn stand_still(options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
    if setting.follows {
        return Ok(constant(1.0));
    }
    let reason =
        "follows the validations, so it stands only as [schedule] itself, or in its chained";
    Err(options.invalid("name", reason))
}

/// What an entry says of itself beyond its line.
pub(crate) fn more(entry: &Entry<Build>) -> More {
    More { figures: Vec::new(), about: entry.build.about }
}

/// What a schedule is built for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// The run, or the part of it that a piece of a sequence is for.
    pub horizon: Horizon,
    /// What the factors multiply: the `value` inline, in `[schedule]` the learning rate.
    pub base: f64,
    /// Whether it may follow the validations: it is a factor of the run's learning rate.
    pub follows: bool,
}

impl Setting {
    /// The same for a piece of `steps` steps.
    pub fn lasting(self, steps: u64) -> Self {
        Self { horizon: Horizon { steps }, follows: false, ..self }
    }

    /// The option `key`, which PyTorch takes as a value, as a fraction of what the factors multiply.
    pub fn fraction(self, options: &Options, key: &str, given: f64) -> Result<f64, ConfigError> {
        if given == 0.0 {
            Ok(0.0)
        } else if self.base == 0.0 {
            let reason = "what the schedule multiplies is 0, so that only 0 can be given here";
            Err(options.invalid(key, reason))
        } else {
            Ok(given / self.base)
        }
    }
}

/// The ramp from 0 to 1 that leads a schedule.
#[derive(Debug, Options)]
pub(crate) struct Ramp {
    /// steps of linear ramp from 0; step s has factor s / warmup_steps, so step 0 has 0
    #[option(default = 0, also = "num_warmup_steps", aka("warmup"))]
    pub warmup_steps: u64,
}

impl Ramp {
    /// Its length, checked against the run.
    pub fn steps(&self, options: &Options, setting: Setting) -> Result<u64, ConfigError> {
        let (warmup, steps) = (self.warmup_steps, setting.horizon.steps);
        if warmup <= steps {
            return Ok(warmup);
        }
        let reason = format!("a warm-up of {warmup} steps is longer than the run of {steps} steps");
        Err(options.invalid("warmup_steps", reason + "; shorten it or train longer"))
    }
}

/// A ramp, and where the schedule ends.
#[derive(Debug, Options)]
pub(crate) struct Phases {
    #[option(flatten)]
    pub ramp: Ramp,
    /// steps until the schedule's end, warm-up included; by default those of the run
    #[option(range = 1.., aka("total_steps", "max_steps"))]
    pub num_training_steps: Option<u64>,
}

impl Phases {
    /// The steps of the ramp and of what follows it.
    pub fn split(&self, options: &Options, setting: Setting) -> Result<(u64, u64), ConfigError> {
        let warmup = self.ramp.steps(options, setting)?;
        let total = self.num_training_steps.unwrap_or(setting.horizon.steps);
        total.checked_sub(warmup).map(|rest| (warmup, rest)).ok_or_else(|| {
            let reason =
                format!("a schedule of {total} steps ends within its warm-up of {warmup} steps");
            options.invalid("num_training_steps", reason)
        })
    }
}

/// Schedules within a schedule.
#[derive(Debug, Options)]
pub(crate) struct ScheduleList {
    /// list of schedule tables, each { name = ..., its options }, without value
    schedules: Value,
}

impl ScheduleList {
    /// The tables, each with its defaults filled in.
    pub fn parts(&self, options: &Options) -> Result<Vec<Options>, ConfigError> {
        let wrong = |got: &str| {
            let reason = format!("expected a list of at least one schedule table, got {got}");
            options.invalid("schedules", reason)
        };
        let list = self.schedules.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| wrong(&self.schedules.to_string()))?;
        let one = |(i, value): (usize, &Value)| match value {
            Value::Table(given) => within(options, &format!("schedules[{i}]"), given),
            other => Err(wrong(&format!("{other} in it"))),
        };
        list.iter().enumerate().map(one).collect()
    }
}

/// The table of a schedule at `key` of another's options, with its defaults filled in.
fn within(options: &Options, key: &str, given: &Table) -> Result<Options, ConfigError> {
    SCHEDULES.resolve(&format!("{}.{key}", options.path()), given).map(|(_, options)| options)
}

/// The schedule within a schedule.
#[derive(Debug, Options)]
pub(crate) struct Within {
    /// schedule table { name = ..., its options }, without value
    schedule: Value,
}

impl Within {
    /// Its curve, for `setting`'s steps.
    pub fn curve(&self, options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
        let Value::Table(given) = &self.schedule else {
            let reason = "expected a schedule table, such as { name = \"cosine\" }";
            return Err(options.invalid("schedule", reason));
        };
        part(&within(options, "schedule", given)?, setting.lasting(setting.horizon.steps))
    }
}

/// The curve of a schedule within a schedule.
pub(crate) fn part(options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
    let build = &SCHEDULES.lookup(options.name())?.build;
    let curve = (build.make)(options, setting)?;
    if !build.absolute || setting.base == 1.0 {
        return Ok(curve);
    }
    if setting.base == 0.0 {
        let reason =
            "its values are learning rates, which cannot be factors of a learning rate of 0";
        return Err(options.invalid("name", reason));
    }
    Ok(curve * setting.base.recip())
}

/// The steps of `milestones`, which must not fall.
pub(crate) fn milestones(given: &Value, options: &Options) -> Result<Vec<u64>, ConfigError> {
    let read = |value: &Value| {
        let list = value.as_array()?.iter();
        let steps: Option<Vec<u64>> =
            list.map(|step| u64::try_from(step.as_integer()?).ok()).collect();
        steps.filter(|steps| steps.is_sorted())
    };
    read(given).ok_or_else(|| {
        options
            .invalid("milestones", format!("expected a list of rising steps from 0, got {given}"))
    })
}
