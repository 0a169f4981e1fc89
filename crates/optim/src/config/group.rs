//! A rule with what applies to any rule: the precision of its state, how it is rounded, what stands around
//! it.

use rappel_config::{
    ConfigError, Entry, Field, InvalidOption, More, OptionSet, Options, Words, resolve,
};
use rappel_schedule::{Horizon, Schedule};
use rappel_tensor::DType;
use toml::Table;

use crate::kernels::{Algorithm, RuleBuild, RuleEntry, StateDtype, Stepper};
use crate::wrappers::{Wrapper, Wrappers};

/// A rule for some parameters, and what applies to any rule.
///
/// ```
/// use rappel_optim::{AdamW, ParamGroup, StateDtype};
/// let group = ParamGroup::from(AdamW::default()).state_dtype(StateDtype::Bf16);
/// ```
#[derive(Debug)]
pub struct ParamGroup {
    pub(crate) stepper: Box<dyn Stepper>,
    pub(crate) schedule: Schedule,
    pub(crate) invalid: Option<InvalidOption>,
    pub(crate) state_dtype: StateDtype,
    pub(crate) stochastic_rounding: bool,
    pub(crate) master_weights: bool,
    pub(crate) wrappers: Wrappers,
}

impl<A: Algorithm> From<A> for ParamGroup {
    #[allow(clippy::needless_pass_by_value)] // Written in place, as a value.
    fn from(rule: A) -> Self {
        Self {
            invalid: rule.check_ranges().and_then(|()| rule.check_together()).err(),
            ..Self::new(rule.stepper())
        }
    }
}

impl ParamGroup {
    fn new(stepper: Box<dyn Stepper>) -> Self {
        Self {
            stepper,
            schedule: Schedule::from(1.0),
            invalid: None,
            state_dtype: StateDtype::Full,
            stochastic_rounding: false,
            master_weights: false,
            wrappers: Wrappers::default(),
        }
    }
}

/// The options of every optimizer, beside its own.
pub(crate) const COMMON: &[Field] = Common::FIELDS;

/// See [`COMMON`].
#[derive(Debug, Options)]
pub(super) struct Common {
    /// what state is stored as; float32 is float64 for float64 parameters; 8bit is a code for each
    /// number and a scale for each 256
    #[option(default = Stored::Float32)]
    state_dtype: Stored,
    /// parameters with fewer elements keep float32 state under 8bit
    #[option(default = 4096, range = 1..)]
    min_8bit_size: usize,
    /// round bfloat16 parameters, bfloat16 and 8bit state up or down at random, right on average
    #[option(default = false)]
    stochastic_rounding: bool,
    /// keep a float32 copy of bfloat16 parameters, and step that; other parameters are their own
    #[option(default = false)]
    master_weights: bool,
    #[option(flatten)]
    wrappers: Wrappers,
}

/// The values of `state_dtype`.
#[derive(Debug, Clone, Copy, Words)]
enum Stored {
    Float32,
    Bfloat16,
    #[word("8bit")]
    Block8,
}

impl ParamGroup {
    /// The factor of the rule's learning rate over the steps.
    #[must_use]
    pub fn schedule(mut self, factor: impl Into<Schedule>) -> Self {
        self.schedule = factor.into();
        self
    }

    /// Whether the rule searches over all parameters as one vector.
    pub(crate) fn searches(&self) -> bool {
        self.stepper.search(DType::F32, 0).is_some()
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
    pub fn wrappers(mut self, wrappers: Wrappers) -> Self {
        self.wrappers = wrappers;
        self
    }

    /// Puts a wrapper of one's own around the rule, outside of those that are there.
    #[must_use]
    pub fn wrapper(mut self, wrapper: impl Wrapper) -> Self {
        self.wrappers.push(wrapper);
        self
    }

    /// The group that checked options of `entry` and [`COMMON`] describe.
    pub(crate) fn from_options(
        entry: &RuleEntry,
        options: &Options,
        horizon: Horizon,
    ) -> Result<Self, ConfigError> {
        let mut group = Self::new((entry.build.stepper)(options, horizon)?);
        let common = Common::read_over(options, Some(horizon))?;
        group.state_dtype = match common.state_dtype {
            Stored::Float32 => StateDtype::Full,
            Stored::Bfloat16 => StateDtype::Bf16,
            Stored::Block8 => StateDtype::Block8 { from: common.min_8bit_size },
        };
        group.stochastic_rounding = common.stochastic_rounding;
        group.master_weights = common.master_weights;
        group.wrappers = common.wrappers;
        Ok(group)
    }

    /// The stepper: names of state, costs.
    pub fn stepper(&self) -> &dyn Stepper {
        &*self.stepper
    }
}

/// A matrix whose state and traffic stand for all: 1024 x 1024 in single precision.
const SAMPLE: [usize; 2] = [1024, 1024];

/// What an optimizer costs, with its defaults, and its documentation.
pub(super) fn more(entry: &Entry<RuleBuild>) -> More {
    let build = || {
        let options = resolve(entry.name, entry.fields, &Table::new())?;
        (entry.build.stepper)(&options, Horizon { steps: 1 })
    };
    let stepper =
        build().unwrap_or_else(|error| panic!("a default does not pass its check: {error}"));
    let state = stepper.state_bytes(SAMPLE.into(), DType::F32);
    let moved = stepper.bytes_moved(DType::F32, state);
    let figure = |bytes: f64| ((bytes * 1e3).round() / 1e3).to_string();
    let figures = vec![("state B/param", figure(state)), ("moved B/param", figure(moved))];
    More { figures, about: entry.build.about }
}
