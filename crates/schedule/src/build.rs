//! What an entry of the registry builds with, and what it is told of where it stands.

use rappel_registry::{ConfigError, Entry, Field, Horizon, Kind, More, Options};
use toml::{Table, Value};

use crate::feedback::Follow;
use crate::{SCHEDULES, Schedule, constant};

/// Builds a curve from an entry's options.
type Make = fn(&Options, Setting) -> Result<Schedule, ConfigError>;

/// Reads what follows the validations from an entry's options.
type MakeFollow = fn(&Options) -> Box<dyn Follow>;

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

    /// An option that PyTorch takes as a value, as a fraction of what the factors multiply.
    pub fn fraction(self, options: &Options, key: &str) -> Result<f64, ConfigError> {
        let given = options.f64(key);
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

/// Length of the ramp from 0 to 1 that leads a schedule.
pub(crate) const WARMUP_STEPS: Field = Field::new(
    "warmup_steps",
    Kind::int_from(0),
    "0",
    "steps of linear ramp from 0; step s has factor s / warmup_steps, so step 0 has 0",
)
.also("num_warmup_steps")
.aka(&["warmup"]);

/// Where a schedule ends.
pub(crate) const NUM_TRAINING_STEPS: Field = Field::optional(
    "num_training_steps",
    Kind::int_from(1),
    "steps until the schedule's end, warm-up included; by default those of the run",
)
.aka(&["total_steps", "max_steps"]);

/// The warm-up, checked against the run.
pub(crate) fn warmup(options: &Options, setting: Setting) -> Result<u64, ConfigError> {
    let (warmup, steps) = (options.u64("warmup_steps"), setting.horizon.steps);
    if warmup <= steps {
        return Ok(warmup);
    }
    let reason = format!("a warm-up of {warmup} steps is longer than the run of {steps} steps");
    Err(options.invalid("warmup_steps", reason + "; shorten it or train longer"))
}

/// The steps of the warm-up and of what follows it up to `num_training_steps`.
pub(crate) fn phases(options: &Options, setting: Setting) -> Result<(u64, u64), ConfigError> {
    let warmup = warmup(options, setting)?;
    let total = options.opt_u64("num_training_steps").unwrap_or(setting.horizon.steps);
    total.checked_sub(warmup).map(|rest| (warmup, rest)).ok_or_else(|| {
        let reason =
            format!("a schedule of {total} steps ends within its warm-up of {warmup} steps");
        options.invalid("num_training_steps", reason)
    })
}

/// Schedules within a schedule.
pub(crate) const SCHEDULE_LIST: Field = Field::required(
    "schedules",
    Kind::Raw,
    "list of schedule tables, each { name = ..., its options }, without value",
);

/// The tables of [`SCHEDULE_LIST`], each with its defaults filled in.
pub(crate) fn parts(options: &Options) -> Result<Vec<Options>, ConfigError> {
    let wrong = |got: &str| {
        let reason = format!("wants a list of at least one schedule table, got {got}");
        options.invalid(SCHEDULE_LIST.name, reason)
    };
    let value = options.raw(SCHEDULE_LIST.name);
    let Some(Value::Array(list)) = value.filter(|v| v.as_array().is_some_and(|l| !l.is_empty()))
    else {
        return Err(wrong(&value.map_or_else(String::new, ToString::to_string)));
    };
    let one = |(i, value): (usize, &Value)| match value {
        Value::Table(given) => within(options, &format!("{}[{i}]", SCHEDULE_LIST.name), given),
        other => Err(wrong(&format!("{other} in it"))),
    };
    list.iter().enumerate().map(one).collect()
}

/// The table of a schedule at `key` of another's options, with its defaults filled in.
fn within(options: &Options, key: &str, given: &Table) -> Result<Options, ConfigError> {
    SCHEDULES.resolve(&format!("{}.{key}", options.path()), given).map(|(_, options)| options)
}

/// The schedule within a schedule.
pub(crate) const SCHEDULE: Field = Field::required(
    "schedule",
    Kind::Raw,
    "schedule table { name = ..., its options }, without value",
);

/// The curve of [`SCHEDULE`], for `setting`'s steps.
pub(crate) fn inner(options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
    let Some(Value::Table(given)) = options.raw(SCHEDULE.name) else {
        let reason = "wants a schedule table, such as { name = \"cosine\" }";
        return Err(options.invalid(SCHEDULE.name, reason));
    };
    part(&within(options, SCHEDULE.name, given)?, setting.lasting(setting.horizon.steps))
}

/// The curve of a schedule within a schedule.
pub(crate) fn part(options: &Options, setting: Setting) -> Result<Schedule, ConfigError> {
    let build = &SCHEDULES.lookup(options.str("name"))?.build;
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
pub(crate) fn milestones(options: &Options) -> Result<Vec<u64>, ConfigError> {
    let value = options.raw("milestones");
    let read = |value: &Value| {
        let list = value.as_array()?.iter();
        let steps: Option<Vec<u64>> =
            list.map(|step| u64::try_from(step.as_integer()?).ok()).collect();
        steps.filter(|steps| steps.is_sorted())
    };
    value.and_then(read).ok_or_else(|| {
        let got = value.map_or_else(String::new, ToString::to_string);
        options.invalid("milestones", format!("wants a list of rising steps from 0, got {got}"))
    })
}
