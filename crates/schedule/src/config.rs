//! From resolved options to curves.

use rappel_registry::{ConfigError, Field, Kind, Options, Range, Registry, Scheduled, no_more};

use crate::schedules::{ENTRIES, SCHEDULES};
use crate::{Curve, constant};

/// The run a schedule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// How many optimizer steps the run takes.
    pub steps: u64,
}

/// How an entry of [`SCHEDULES`] builds its curve of factors.
pub type Build = fn(&Options, Horizon) -> Result<Curve, ConfigError>;

/// Length of the ramp from 0 to 1 that leads a schedule.
pub(crate) const WARMUP_STEPS: Field = Field::new(
    "warmup_steps",
    Kind::int_from(0),
    "0",
    "steps of linear ramp from 0; step s has factor s / warmup_steps, so step 0 has 0",
)
.aka(&["num_warmup_steps", "warmup"]);

/// Where a schedule ends.
pub(crate) const NUM_TRAINING_STEPS: Field = Field::optional(
    "num_training_steps",
    Kind::int_from(1),
    "steps until the schedule's end, warm-up included; by default those of the run",
)
.aka(&["total_steps", "max_steps"]);

/// The schedules as they stand inline for a hyperparameter: `value` is what the factors multiply.
static INLINE: Registry<Build> = Registry {
    kind: "schedule",
    common: &[Field::required("value", Kind::Float(Range::FINITE), "what the factors multiply")],
    entries: ENTRIES,
    more: no_more,
};

/// The kind of an option that takes a number in `range` or a schedule whose values keep it.
///
/// In a config: `weight_decay = 0.1` or
/// `weight_decay = { name = "cosine", value = 0.1, warmup_steps = 10 }`.
pub const fn scheduled(range: Range) -> Kind {
    Kind::Scheduled { range, by: &INLINE }
}

/// How many steps of a curve are looked at, at most, when its range is checked.
const MOST_CHECKED: u64 = 1_000_000;

impl Curve {
    /// The curve of factors that a resolved section of [`SCHEDULES`] describes.
    ///
    /// # Errors
    /// What the entry finds wrong, such as a warm-up longer than the run.
    ///
    /// ```
    /// use rappel_registry::Family;
    /// use rappel_schedule::{Curve, Horizon, SCHEDULES};
    /// let given = toml::from_str("name = 'cosine'\nwarmup_steps = 10").unwrap();
    /// let options = SCHEDULES.resolve_options("schedule", &given)?;
    /// let factors = Curve::from_section(&options, Horizon { steps: 110 })?;
    /// assert_eq!((factors.at(5), factors.at(10), factors.at(110)), (0.5, 1.0, 0.0));
    /// # Ok::<(), rappel_registry::ConfigError>(())
    /// ```
    pub fn from_section(options: &Options, horizon: Horizon) -> Result<Self, ConfigError> {
        (SCHEDULES.lookup(options.str("name"))?.build)(options, horizon)
    }

    /// The curve of the option `key`, declared with [`scheduled`]: a number's constant or a schedule.
    ///
    /// # Errors
    /// What the schedule finds wrong, or a value that leaves the option's range at a step of the run
    /// (every step of a run of up to a million steps is looked at, else a million of them).
    ///
    /// # Panics
    /// If `key` is unset or not declared so.
    #[track_caller]
    pub fn from_option(
        options: &Options,
        key: &str,
        horizon: Horizon,
    ) -> Result<Self, ConfigError> {
        let (table, range) = match options.scheduled(key) {
            Scheduled::Number(value) => return Ok(constant(value)),
            Scheduled::Table(table, range) => (table, range),
        };
        let curve = Self::from_section(table, horizon)? * table.f64("value");
        let stride = horizon.steps.div_ceil(MOST_CHECKED).max(1);
        let mut steps = (0..horizon.steps).step_by(stride as usize);
        match steps.find(|step| !range.contains(curve.at(*step))) {
            None => Ok(curve),
            Some(step) => {
                let value = curve.at(step);
                let reason = format!("the schedule gives {value} at step {step}, out of {range}");
                Err(options.invalid(key, reason))
            }
        }
    }
}

/// The warm-up, checked against the run.
pub(crate) fn warmup(options: &Options, horizon: Horizon) -> Result<u64, ConfigError> {
    let warmup = options.u64("warmup_steps");
    if warmup <= horizon.steps {
        return Ok(warmup);
    }
    let steps = horizon.steps;
    let reason = format!("a warm-up of {warmup} steps is longer than the run of {steps} steps");
    Err(options.invalid("warmup_steps", reason + "; shorten it or train longer"))
}

/// The steps of the warm-up and of what follows it up to `num_training_steps`.
pub(crate) fn phases(options: &Options, horizon: Horizon) -> Result<(u64, u64), ConfigError> {
    let warmup = warmup(options, horizon)?;
    let total = options.opt_u64("num_training_steps").unwrap_or(horizon.steps);
    total.checked_sub(warmup).map(|rest| (warmup, rest)).ok_or_else(|| {
        let reason =
            format!("a schedule of {total} steps ends within its warm-up of {warmup} steps");
        options.invalid("num_training_steps", reason)
    })
}
