//! What to make an optimizer from: a rule, groups, clipping.

use rappel_registry::{ConfigError, Entry, Field, Kind, Options, Range, resolve};
use rappel_schedule::{Horizon, Schedule};
use rappel_tensor::{Param, Params, ParamsError};
use toml::{Table, Value};

use crate::averages::Averaging;
use crate::plan::COMMON;
use crate::rules::{Build, OPTIMIZERS};
use crate::search::check_alone;
use crate::{InvalidOption, OptionValue, Plan};

/// What the config's `groups` are, for help texts.
const GROUPS: &str = "list of { params = [patterns], other options }: parameters whose whole name a \
                      glob matches take these options, or with `name` another optimizer; first match wins";

/// The option that every section of an optimizer has beside [`COMMON`].
pub(crate) const GROUPS_FIELD: Field = Field::optional("groups", Kind::Raw, GROUPS);

/// See [`Recipe::after_step`].
pub(crate) type AfterStep =
    Box<dyn Fn(u64, &mut Params, &dyn Fn(&Param) -> f64) -> Result<(), ParamsError> + Send + Sync>;

/// What to make an [`Optimizer`](crate::Optimizer) from: a rule for all parameters, other rules or
/// options for groups of them, and what is done to gradients first.
///
/// ```
/// use rappel_optim::{AdamW, Recipe};
/// let adamw = AdamW { lr: 3e-4.into(), ..Default::default() };
/// let plain = AdamW { weight_decay: 0.0.into(), ..adamw.clone() };
/// let recipe = Recipe::new(adamw).group(["*.bias", "*ln_*"], plain).max_grad_norm(1.0);
/// ```
pub struct Recipe {
    /// For what no group's patterns match.
    pub(crate) default: Plan,
    pub(crate) groups: Vec<(Vec<String>, Plan)>,
    pub(crate) invalid: Option<InvalidOption>,
    pub(crate) average: Option<Box<dyn Averaging>>,
    pub(crate) after_step: Option<AfterStep>,
    pub(crate) lr_factor: Schedule,
    pub(crate) max_grad_norm: Option<Schedule>,
    pub(crate) norm_type: f64,
    pub(crate) clip_value: Option<f64>,
    pub(crate) allow_missing: bool,
    pub(crate) check_finite: bool,
    pub(crate) seed: u64,
    pub(crate) gradient_noise: Option<Schedule>,
}

impl<P: Into<Plan>> From<P> for Recipe {
    fn from(plan: P) -> Self {
        Self::new(plan)
    }
}

impl Recipe {
    /// `plan` for all parameters; nothing clipped.
    pub fn new(plan: impl Into<Plan>) -> Self {
        let mut default = plan.into();
        Self {
            invalid: default.invalid.take(),
            default,
            groups: Vec::new(),
            average: None,
            after_step: None,
            lr_factor: Schedule::from(1.0),
            max_grad_norm: None,
            norm_type: 2.0,
            clip_value: None,
            allow_missing: false,
            check_finite: true,
            seed: 0,
            gradient_noise: None,
        }
    }

    /// `plan` for the parameters whose name one of the glob `patterns` matches and that no earlier
    /// group took. A pattern is held against the whole name; `*` also stands for dots.
    #[must_use]
    pub fn group<S: Into<String>>(
        mut self,
        patterns: impl IntoIterator<Item = S>,
        plan: impl Into<Plan>,
    ) -> Self {
        let mut plan = plan.into();
        self.invalid = self.invalid.or(plan.invalid.take());
        self.groups.push((patterns.into_iter().map(Into::into).collect(), plan));
        self
    }

    /// Adds independent normal noise of this variance to each element of each gradient, after
    /// clipping (Neelakantan et al., 2015, <https://arxiv.org/abs/1511.06807>).
    ///
    /// The noise is a pure function of the seed, the step, the parameter's place among all and the
    /// element's in it.
    #[must_use]
    pub fn gradient_noise(mut self, variance: impl Into<Schedule>) -> Self {
        self.gradient_noise = Some(variance.into());
        self
    }

    /// What random rounding and noise are drawn from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Keeps an average of the trainable parameters, which [`eval`](crate::Optimizer::eval) hands
    /// out.
    #[must_use]
    pub fn average(self, average: impl Averaging + 'static) -> Self {
        self.boxed_average(Box::new(average))
    }

    /// [`average`](Recipe::average) as an entry of [`AVERAGES`](crate::AVERAGES) builds it.
    #[must_use]
    pub fn boxed_average(mut self, average: Box<dyn Averaging>) -> Self {
        self.average = Some(average);
        self
    }

    /// Calls `change` at the end of every step, before an average takes the parameters in: proximal
    /// steps, constraints. It gets the step, the parameters, and the learning rate of each at that
    /// step, 0 where it is not trained. Its error is the step's, whose update then stays.
    ///
    /// ```
    /// use rappel_optim::{Optimizer, Recipe, Sgd};
    /// use rappel_tensor::{Init, Params, no_grad};
    /// let mut params = Params::new(0);
    /// let w = params.scope("").add("w", [2], Init::ONES);
    /// let positive = Recipe::new(Sgd { lr: 2.0.into(), ..Default::default() }).after_step({
    ///     let w = w.clone();
    ///     move |_, params, _| {
    ///         let clamped = no_grad(|| w.tensor().relu());
    ///         params.set(&w, &clamped)
    ///     }
    /// });
    /// let mut sgd = Optimizer::new(positive, &params)?;
    /// let loss = w.tensor().square().sum();
    /// sgd.step(0, &mut params, &loss.backward())?;
    /// assert_eq!(w.tensor().to_vec::<f32>(), [0.0, 0.0]);
    /// # Ok::<(), rappel_optim::OptimError>(())
    /// ```
    #[must_use]
    pub fn after_step(
        mut self,
        change: impl Fn(u64, &mut Params, &dyn Fn(&Param) -> f64) -> Result<(), ParamsError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.after_step = Some(Box::new(change));
        self
    }

    /// Multiplies every group's learning rate: a run's `[schedule]`.
    #[must_use]
    pub fn lr_factor(mut self, factor: impl Into<Schedule>) -> Self {
        self.lr_factor = factor.into();
        self
    }

    /// Scales all gradients by `min(1, max_norm / (norm + 1e-6))`, where `norm` is that of all of
    /// them as one vector: PyTorch's `clip_grad_norm_`.
    #[must_use]
    pub fn max_grad_norm(mut self, max_norm: impl Into<Schedule>) -> Self {
        let max_norm = max_norm.into();
        if let Err(reason) = max_norm.check(Range::from(0.0).or_infinite()) {
            self.invalid.get_or_insert(InvalidOption::new("max_grad_norm", reason));
        }
        self.max_grad_norm = Some(max_norm);
        self
    }

    /// Which norm clipping measures and reports: 2 by default, 1, infinity or any above 0.
    #[must_use]
    pub fn norm_type(mut self, p: f64) -> Self {
        if !Range::above(0.0).or_infinite().contains(p) {
            let reason = format!("{p} is out of range; wants a number above 0, or infinity");
            self.invalid.get_or_insert(InvalidOption::new("norm_type", reason));
        }
        self.norm_type = p;
        self
    }

    /// Moves each element of each gradient into `-limit..=limit`, after the norm was clipped:
    /// PyTorch's `clip_grad_value_`.
    #[must_use]
    pub fn clip_value(mut self, limit: f64) -> Self {
        if !Range::from(0.0).or_infinite().contains(limit) {
            let reason = format!("{limit} is out of range; wants a number from 0");
            self.invalid.get_or_insert(InvalidOption::new("clip_value", reason));
        }
        self.clip_value = Some(limit);
        self
    }

    /// Leaves trainable parameters without a gradient as they are, state and decay included, as
    /// PyTorch does. By default they are an error.
    #[must_use]
    pub fn allow_missing(mut self) -> Self {
        self.allow_missing = true;
        self
    }

    /// Takes gradients as they come: no look at them for NaN, which costs a read of all gradients
    /// where no norm is clipped. Then a NaN ends up in the parameters.
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.check_finite = false;
        self
    }

    /// The recipe that a resolved `[optimizer]` section describes, with the run's `schedule` as
    /// factor of every learning rate.
    ///
    /// # Errors
    /// What is wrong with an option, alone or beside others, in the section or in a group.
    ///
    /// ```
    /// use rappel_optim::{OPTIMIZERS, Recipe};
    /// use rappel_registry::Family;
    /// use rappel_schedule::{Horizon, constant};
    /// let section = "name = 'adamw'\nlr = 1e-3\ngroups = [{ params = ['*.bias'], weight_decay = 0 }]";
    /// let given = toml::from_str(section).unwrap();
    /// let options = OPTIMIZERS.resolve_options("optimizer", &given)?;
    /// let recipe = Recipe::from_section(&options, Horizon { steps: 100 }, constant(1.0))?;
    /// # Ok::<(), rappel_registry::ConfigError>(())
    /// ```
    pub fn from_section(
        options: &Options,
        horizon: Horizon,
        schedule: impl Into<Schedule>,
    ) -> Result<Self, ConfigError> {
        let entry = OPTIMIZERS.lookup(options.str("name"))?;
        let plan = Plan::from_options(entry, options, horizon)?;
        let mut recipe = Self::new(plan).lr_factor(schedule);
        for (i, given) in groups(options)?.into_iter().enumerate() {
            let path = format!("{}.groups[{i}]", options.path());
            recipe.groups.push(Self::group_from(&path, given, options, horizon)?);
        }
        check_alone(&recipe).map_err(|error| options.invalid(error.option, error.reason))?;
        Ok(recipe)
    }

    /// The recipe of a resolved `[optimizer]` section under a resolved `[schedule]`: a factor of each
    /// group's learning rate, which its options that are learning rates themselves are held against.
    ///
    /// # Errors
    /// As [`from_section`](Recipe::from_section), and what is wrong with the schedule.
    pub fn from_sections(
        options: &Options,
        schedule: &Options,
        horizon: Horizon,
    ) -> Result<Self, ConfigError> {
        let mut recipe = Self::from_section(options, horizon, 1.0)?;
        let groups = recipe.groups.iter_mut().map(|(_, plan)| plan);
        for plan in std::iter::once(&mut recipe.default).chain(groups) {
            plan.lr_factor = Schedule::from_section(schedule, horizon, plan.first_lr())?.into();
        }
        Ok(recipe)
    }

    /// The patterns and the plan of a config's group, in a section with these `options`.
    fn group_from(
        path: &str,
        given: &Table,
        options: &Options,
        horizon: Horizon,
    ) -> Result<(Vec<String>, Plan), ConfigError> {
        let (entry, options) = group_options(path, given, options)?;
        let patterns = options.strings("params").into_iter().map(str::to_owned).collect();
        Ok((patterns, Plan::from_options(entry, &options, horizon)?))
    }

    /// Whether steps evaluate the loss several times, over all parameters at once: L-BFGS.
    pub fn searches(&self) -> bool {
        self.default.stepper.search(rappel_tensor::DType::F32, 0).is_some()
    }

    /// The plan of what no group takes.
    pub fn plan(&self) -> &Plan {
        &self.default
    }
}

/// The tables of a section's `groups`.
pub(crate) fn groups(options: &Options) -> Result<Vec<&Table>, ConfigError> {
    let wrong = || options.invalid("groups", format!("wants a {GROUPS}"));
    match options.raw("groups") {
        None => Ok(Vec::new()),
        Some(Value::Array(groups)) => {
            groups.iter().map(|given| given.as_table().ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// The optimizer of a config's group, in a section with these `options`, and its own options in full.
pub(crate) fn group_options(
    path: &str,
    given: &Table,
    options: &Options,
) -> Result<(&'static Entry<Build>, Options), ConfigError> {
    let named = resolve(
        path,
        &[NAME],
        &given
            .iter()
            .filter(|(key, _)| *key == "name")
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    )?;
    let name = named.opt_str("name").unwrap_or(options.str("name"));
    let entry = OPTIMIZERS.lookup_at(&format!("{path}.name"), name)?;
    // What the group does not say is as in the section; of another optimizer, only what all have.
    let mut whole = options.to_toml();
    let same = name == options.str("name");
    whole.retain(|key, _| {
        key != "groups" && key != "name" && (same || COMMON.iter().any(|field| field.name == key))
    });
    whole.extend(given.clone());
    let fields = [&[PARAMS, NAME], entry.fields, COMMON].concat();
    Ok((entry, resolve(path, &fields, &whole)?))
}

const NAME: Field = Field::optional("name", Kind::Str, "another optimizer for these parameters");
const PARAMS: Field =
    Field::required("params", Kind::Strings, "globs over whole parameter names, such as *.bias");
