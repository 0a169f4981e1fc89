//! A rule with what applies to any rule: the precision of its state, and how it is rounded.

use rappel_registry::{ConfigError, Entry, Field, Kind, More, Options, joined, resolve};
use rappel_schedule::Horizon;
use rappel_tensor::DType;
use toml::Table;

use crate::modifiers;
use crate::rules::Build;
use crate::stepper::MIN_8BIT_SIZE;
use crate::{Algorithm, InvalidOption, Modifiers, Schedule, StateDtype, Stepper};

/// A rule for some parameters, and what applies to any rule.
///
/// ```
/// use rappel_optim::{AdamW, Plan, StateDtype};
/// let plan = Plan::from(AdamW::default()).state_dtype(StateDtype::Bf16);
/// ```
pub struct Plan {
    pub(crate) about: &'static str,
    pub(crate) stepper: Box<dyn Stepper>,
    pub(crate) lr_factor: Schedule,
    pub(crate) invalid: Option<InvalidOption>,
    pub(crate) state_dtype: StateDtype,
    pub(crate) stochastic_rounding: bool,
    pub(crate) master_weights: bool,
    pub(crate) modifiers: Modifiers,
}

impl<A: Algorithm> From<A> for Plan {
    #[allow(clippy::needless_pass_by_value)] // Written in place, as a value.
    fn from(rule: A) -> Self {
        Self {
            about: A::ABOUT,
            stepper: rule.stepper(),
            lr_factor: Schedule::from(1.0),
            invalid: rule.check_ranges().and_then(|()| rule.check()).err(),
            state_dtype: StateDtype::Full,
            stochastic_rounding: false,
            master_weights: false,
            modifiers: Modifiers::default(),
        }
    }
}

/// The options of every optimizer, beside its own.
pub(crate) const COMMON: &[Field] =
    &joined::<{ PRECISION.len() + modifiers::FIELDS.len() }>(PRECISION, modifiers::FIELDS);

const PRECISION: &[Field] = &[
    Field::new(
        "state_dtype",
        Kind::OneOf(&["float32", "bfloat16", "8bit"]),
        "\"float32\"",
        "what state is stored as; float32 is float64 for float64 parameters; 8bit is a code for each \
         number and a scale for each 256",
    ),
    Field::new(
        "min_8bit_size",
        Kind::Int { min: 1, max: i64::MAX },
        "4096",
        "parameters with fewer elements keep float32 state under 8bit",
    ),
    Field::new(
        "stochastic_rounding",
        Kind::Bool,
        "false",
        "round bfloat16 parameters, bfloat16 and 8bit state up or down at random, right on average",
    ),
    Field::new(
        "master_weights",
        Kind::Bool,
        "false",
        "keep a float32 copy of bfloat16 parameters, and step that; other parameters are their own",
    ),
];

impl Plan {
    /// Multiplies the rule's learning rate.
    #[must_use]
    pub fn lr_factor(mut self, factor: impl Into<Schedule>) -> Self {
        self.lr_factor = factor.into();
        self
    }

    /// The rule's learning rate at step 0, before anything multiplies it.
    pub(crate) fn first_lr(&self) -> f64 {
        self.stepper.lr().at(0)
    }

    /// Stores state in this precision.
    #[must_use]
    pub fn state_dtype(mut self, state_dtype: StateDtype) -> Self {
        self.state_dtype = state_dtype;
        self
    }

    /// Rounds what is stored in less precision than it is computed in up or down at random, the
    /// nearer value likelier in proportion, so that it is right on average.
    #[must_use]
    pub fn stochastic_rounding(mut self) -> Self {
        self.stochastic_rounding = true;
        self
    }

    /// Keeps a copy of bfloat16 parameters in single precision, made at the first step, and takes
    /// steps from that; the parameters are what it rounds to. Others are their own copy.
    #[must_use]
    pub fn master_weights(mut self) -> Self {
        self.master_weights = true;
        self
    }

    /// Puts these around the rule.
    #[must_use]
    pub fn modifiers(mut self, modifiers: Modifiers) -> Self {
        self.modifiers = modifiers;
        self
    }

    /// The plan that checked options of `entry` and [`COMMON`] describe.
    pub(crate) fn from_options(
        entry: &Entry<Build>,
        options: &Options,
        horizon: Horizon,
    ) -> Result<Self, ConfigError> {
        let mut plan = (entry.build)(options, horizon)?;
        plan.state_dtype = match options.str("state_dtype") {
            "bfloat16" => StateDtype::Bf16,
            "8bit" => StateDtype::Block8 { from: options.usize("min_8bit_size") },
            _ => StateDtype::Full,
        };
        plan.stochastic_rounding = options.bool("stochastic_rounding");
        plan.master_weights = options.bool("master_weights");
        plan.modifiers = Modifiers::from_options(options, horizon)?;
        Ok(plan)
    }

    /// The plan of the rule `A` with checked `options`: what entries of
    /// [`OPTIMIZERS`](crate::OPTIMIZERS) build with.
    pub(crate) fn build<A: Algorithm>(
        options: &Options,
        horizon: Horizon,
    ) -> Result<Self, ConfigError> {
        let rule = A::from_options(options, horizon)?;
        rule.check().map_err(|error| options.invalid(error.option, error.reason))?;
        Ok(Self::from(rule))
    }

    /// The stepper: names of state, costs.
    pub fn stepper(&self) -> &dyn Stepper {
        &*self.stepper
    }
}

/// A matrix whose state and traffic stand for all: 1024 x 1024 in single precision.
const SAMPLE: [usize; 2] = [1024, 1024];

/// What an optimizer costs, with its defaults, and its documentation.
pub(crate) fn more(entry: &Entry<Build>) -> More {
    let build = || {
        let options = resolve(entry.name, entry.fields, &Table::new())?;
        (entry.build)(&options, Horizon { steps: 1 })
    };
    let plan = build().unwrap_or_else(|error| panic!("a default does not pass its check: {error}"));
    let state = plan.stepper.state_bytes(SAMPLE.into(), DType::F32);
    let moved = plan.stepper.bytes_moved(DType::F32, state);
    let figure = |bytes: f64| ((bytes * 1e3).round() / 1e3).to_string();
    let figures = vec![("state B/param", figure(state)), ("moved B/param", figure(moved))];
    More { figures, about: plan.about }
}

impl StateDtype {
    /// Eight-bit codes for parameters of at least 4096 elements.
    pub const BLOCK8: Self = Self::Block8 { from: MIN_8BIT_SIZE };
}
