//! From resolved options to curves.

use rappel_config::{
    Checked, ConfigError, Family, Horizon, Info, Kind, OptionSet, OptionValue, Options, Place,
    Range, Registry,
};
use toml::{Table, Value};

use crate::build::{Setting, more, part};
use crate::schedules::ENTRIES;
use crate::{Build, SCHEDULES, Schedule};

/// The schedules as they stand inline for a hyperparameter.
struct Inline;

/// What the factors multiply.
#[derive(Debug, Options)]
struct Factored {
    /// what the factors multiply
    value: f64,
}

/// What multiplies values.
#[derive(Debug, Options)]
struct Valued {
    /// multiplies the values
    #[option(default = 1.0)]
    value: f64,
}

/// Those of factors: `value` is what the factors multiply.
static OF_FACTORS: Registry<Build> =
    Registry { kind: "schedule", common: Factored::FIELDS, entries: ENTRIES, more };

/// Those whose options are values.
static OF_VALUES: Registry<Build> =
    Registry { common: Valued::FIELDS, kind: "schedule", entries: ENTRIES, more };

impl Family for Inline {
    fn kind(&self) -> &'static str {
        OF_FACTORS.kind
    }

    fn infos(&self) -> Vec<Info> {
        OF_FACTORS.infos()
    }

    fn resolve_options(&self, path: &str, given: &Table) -> Result<Options, ConfigError> {
        let name = given.get("name").and_then(Value::as_str);
        let entry = ENTRIES.iter().find(|entry| Some(entry.name) == name);
        let sets_values = entry.is_some_and(|entry| entry.build.sets_values);
        let registry = if sets_values { &OF_VALUES } else { &OF_FACTORS };
        registry.resolve_options(path, given)
    }

    fn info(&self, name: &str) -> Result<Info, ConfigError> {
        OF_FACTORS.info(name)
    }
}

/// The kind of an option that takes a number in `range` or a schedule whose values keep it.
///
/// In a config: `weight_decay = 0.1`,
/// `weight_decay = { name = "cosine", value = 0.1, warmup_steps = 10 }` or
/// `momentum = { name = "cyclic", base_lr = 0.9, max_lr = 0.8 }`.
pub const fn scheduled(range: Range) -> Kind {
    Kind::Scheduled { range, by: &Inline }
}

/// The kind of an option that takes an integer from `min`, one of `words`, or a schedule whose values
/// keep the range and are rounded by its reader.
pub const fn counted(min: u32, words: &'static [&'static str]) -> Kind {
    Kind::Count { min, words, by: &Inline }
}

/// A schedule as a config gives it, before the length of the run is known.
#[derive(Debug, Clone, PartialEq)]
pub enum ScheduleConfig {
    /// The same at every step.
    Number(f64),
    /// The resolved table that describes a curve, and the range its values must keep.
    Table(Options, Range),
}

impl ScheduleConfig {
    /// The number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Table(..) => None,
        }
    }

    /// The schedule over a run of `horizon`.
    ///
    /// # Errors
    /// What the schedule finds wrong, or a value that leaves the option's range at a step of the run
    /// (every step of a run of up to a million steps is looked at, else a million of them).
    pub fn over(&self, horizon: Horizon) -> Result<Schedule, ConfigError> {
        let (table, range) = match self {
            Self::Number(value) => return Ok((*value).into()),
            Self::Table(table, range) => (table, *range),
        };
        let Factored { value } = Factored::from_options(table)?;
        let sets_values = SCHEDULES.lookup(table.name())?.build.sets_values;
        let base = if sets_values { 1.0 } else { value };
        let curve = part(table, Setting { horizon, base, follows: false })? * value;
        match curve.outside(range, horizon) {
            None => Ok(curve),
            Some((step, value)) => {
                let reason = format!("the schedule gives {value} at step {step}, out of {range}");
                Err(ConfigError::invalid(table.path(), reason))
            }
        }
    }
}

impl From<f64> for ScheduleConfig {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl OptionValue for ScheduleConfig {
    const KIND: Kind = scheduled(Range::FINITE);
    const LIST: Option<Kind> =
        Some(Kind::Schedules { len: None, range: Range::FINITE, by: &Inline });

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        match value {
            Checked::Curve(table, range) => Ok(Self::Table(table.clone(), *range)),
            Checked::Value(Value::Integer(number)) => Ok(Self::Number(*number as f64)),
            _ => f64::read(value, place).map(Self::Number),
        }
    }

    fn write(&self) -> Option<Value> {
        match self {
            Self::Number(number) => number.write(),
            Self::Table(table, _) => Some(table.to_toml().into()),
        }
    }

    fn check(&self, kind: Kind) -> Result<(), String> {
        // A table was checked when it was resolved; its values are, once the run is known.
        self.number().map_or(Ok(()), |number| number.check(kind))
    }
}

/// Options with a schedule are read for a run, by [`OptionSet::read_over`].
impl OptionValue for Schedule {
    const KIND: Kind = ScheduleConfig::KIND;
    const LIST: Option<Kind> = ScheduleConfig::LIST;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Self, ConfigError> {
        match (ScheduleConfig::read(value, place)?, place.horizon) {
            (ScheduleConfig::Number(number), _) => Ok(number.into()),
            (config, Some(horizon)) => config.over(horizon),
            (_, None) => Err(place.invalid("a schedule needs a run, whose length it follows")),
        }
    }

    /// A curve that a config gave is written by the config.
    fn write(&self) -> Option<Value> {
        self.number().and_then(|number| number.write())
    }

    fn check(&self, kind: Kind) -> Result<(), String> {
        self.number().map_or(Ok(()), |number| number.check(kind))
    }
}

/// How many steps of a curve are looked at, at most, when its range is checked.
const MOST_CHECKED: u64 = 1_000_000;

impl Schedule {
    /// The curve of factors that a resolved section of [`SCHEDULES`](crate::SCHEDULES) describes, for
    /// a learning rate of `lr`: what its options give as learning rates, such as PyTorch's `eta_min`
    /// and `max_lr`, is divided by it.
    ///
    /// # Errors
    /// What the entry finds wrong, such as a warm-up longer than the run, or a factor that is negative
    /// or not finite at a step of the run.
    ///
    /// ```
    /// use rappel_config::Family;
    /// use rappel_schedule::{Schedule, Horizon, SCHEDULES};
    /// let given = toml::from_str("name = 'cosine'\nwarmup_steps = 10").unwrap();
    /// let options = SCHEDULES.resolve_options("schedule", &given)?;
    /// let factors = Schedule::from_section(&options, Horizon { steps: 110 }, 1e-3)?;
    /// assert_eq!((factors.at(5), factors.at(10), factors.at(110)), (0.5, 1.0, 0.0));
    /// # Ok::<(), rappel_config::ConfigError>(())
    /// ```
    pub fn from_section(options: &Options, horizon: Horizon, lr: f64) -> Result<Self, ConfigError> {
        let curve = part(options, Setting { horizon, base: lr, follows: true })?;
        let Some((step, value)) = curve.outside(Range::from(0.0), horizon) else {
            return Ok(curve);
        };
        let key = if options.declares("lr_lambda") { "lr_lambda" } else { "name" };
        let reason = format!("the schedule gives {value} at step {step}, where a learning rate");
        Err(options.invalid(key, reason + " takes a finite factor from 0"))
    }

    /// The first step of the run, of those looked at, that leaves the range, and its value.
    fn outside(&self, range: Range, horizon: Horizon) -> Option<(u64, f64)> {
        let stride = horizon.steps.div_ceil(MOST_CHECKED).max(1);
        let steps = (0..horizon.steps).step_by(stride as usize);
        steps.map(|step| (step, self.at(step))).find(|(_, value)| !range.contains(*value))
    }
}
